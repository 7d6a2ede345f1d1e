//! What a site names on the machine, and a server would refuse at its start, whichever machine that
//! is: addresses that are in each other's way, and files and folders that are not what they should
//! be. Told with the rest, and not by the first that fails.

use super::plan::Overrides;
use super::security::read_bytes;
use super::source::Files;
use crate::config::{AccessTarget, AdminAddress, Problem, Server, SiteFile};
use crate::limits::ADMIN_SOCKET_PATH_BYTES_MAX;
use crate::tls::pem;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::Path;

/// Looks at what is written, with what stands above it.
pub(super) fn look(
    files: &Files,
    written: &SiteFile,
    overrides: &Overrides,
    problems: &mut Vec<Problem>,
) {
    let mut desk = Desk { files, server: &written.server, problems };
    desk.addresses();
    let admin = written.admin.listen.as_ref();
    match (&overrides.admin, admin) {
        (Some(Some(address)), _) => desk.admin(address, None),
        (None, Some(at)) => desk.admin(&at.value, Some(&at.span)),
        (Some(None), _) | (None, None) => {}
    }
    desk.access_log(overrides.access_log.is_some());
    desk.acme();
}

struct Desk<'a> {
    files: &'a Files,
    server: &'a Server,
    problems: &'a mut Vec<Problem>,
}

impl Desk<'_> {
    /// Those that visitors come to, among each other.
    fn addresses(&mut self) {
        let server = self.server;
        let plain = server.listen.iter().map(|address| (address, false));
        let all: Vec<(&SocketAddr, bool)> =
            plain.chain(server.secure.listen.iter().map(|address| (address, true))).collect();
        for (at, (address, is_secure)) in all.iter().enumerate() {
            // One that is both with TLS and without is told elsewhere.
            let mut others = all.iter().take(at).filter(|(other, other_is_secure)| {
                overlap(address, other) && (address != other || is_secure == other_is_secure)
            });
            let Some((other, _)) = others.next_back() else { continue };
            let message = match address == other {
                true => format!("{address} is there twice"),
                false => format!("{address} and {other} have addresses in common"),
            };
            let hint = "only one can listen at an address: leave one out, or give it another port";
            self.problem(server.spots.listen(address).as_ref(), message, hint);
        }
    }

    /// The admin listener, and those that visitors come to.
    fn admin(&mut self, address: &AdminAddress, span: Option<&Range<usize>>) {
        let address = match address {
            AdminAddress::Tcp(address) => address,
            AdminAddress::Unix(path) => {
                let path = match span {
                    Some(_) => self.files.folder().join(path),
                    None => path.clone(),
                };
                let (length, max) = (path.as_os_str().len(), ADMIN_SOCKET_PATH_BYTES_MAX);
                if length > max {
                    let message =
                        format!("the path of this socket has {length} bytes, and may have {max}");
                    let hint = "write a shorter one, as in \"unix:/run/ringpress/admin.sock\"";
                    self.problem(span, message, hint);
                }
                return;
            }
        };
        let server = self.server;
        let mut listen = server.listen.iter().chain(&server.secure.listen);
        // Its socket takes visitors of both families there (ipv6(7)), as those of the site do not.
        let is_all = address.ip() == IpAddr::from([0u16; 8]);
        let is_taken = |other: &&SocketAddr| {
            overlap(address, other) || (is_all && is_same_port(address, other))
        };
        let Some(other) = listen.find(is_taken) else { return };
        let message = match address == other {
            true => format!("{address} is where the site itself listens"),
            false => format!("{address} has addresses where the site itself listens: {other}"),
        };
        let hint = "give [admin] another port, or a file: \"unix:/run/ringpress/admin.sock\"";
        self.problem(span, message, hint);
    }

    fn access_log(&mut self, is_override: bool) {
        let server = self.server;
        let Some(AccessTarget::File(path)) = server.access_log.as_ref().map(|log| &log.to) else {
            return;
        };
        let span = server.spots.access_log.as_ref().filter(|_| !is_override);
        let place = self.files.folder().join(path);
        let folder = place.parent().unwrap_or(Path::new("/"));
        let (message, hint) = if place.is_dir() {
            let message = format!("the access log `{}` is a folder", path.display());
            (message, format!("name a file in it: \"{}\"", path.join("access.log").display()))
        } else if !folder.is_dir() {
            let folder = folder.display();
            let message =
                format!("the access log would be in {folder}, and there is no such folder");
            (message, format!("mkdir -p {folder}, or another path, here or as --access-log"))
        } else {
            return;
        };
        self.problem(span, message, &hint);
    }

    fn acme(&mut self) {
        let server = self.server;
        let Some(acme) = server.acme.clone().map(|acme| acme.beside(self.files.folder())) else {
            return;
        };
        let mut there =
            acme.storage.ancestors().filter_map(|place| Some((place, place.metadata().ok()?)));
        if let Some((place, found)) = there.next()
            && !found.is_dir()
        {
            let message = format!("`storage` of [server.acme] is no folder: {}", place.display());
            let hint = "name a folder, which is made if it is not there; keys are kept in it";
            self.problem(server.spots.acme_storage.as_ref(), message, hint);
        }
        let Some(ca) = &acme.ca else { return };
        let read = read_bytes(ca).and_then(|(bytes, _)| pem::certificates(&bytes));
        if let Err(error) = read {
            let message = format!("`ca` of [server.acme] cannot be used: {error}");
            let hint = format!(
                "a PEM file with the certificates that the directory's own is checked against is \
                 looked for at {}",
                ca.display()
            );
            self.problem(server.spots.acme_ca.as_ref(), message, &hint);
        }
    }

    fn problem(&mut self, span: Option<&Range<usize>>, message: String, hint: &str) {
        let problem = match span {
            Some(span) => self.files.site.problem(span.clone(), message),
            None => Problem::of_file("", message),
        };
        self.problems.push(problem.hint(hint));
    }
}

/// Whether only one of two can be listened on: `0.0.0.0` is all addresses of its family, as `[::]`
/// is. The kernel gives each a port of its own where none is said.
fn overlap(one: &SocketAddr, other: &SocketAddr) -> bool {
    let (a, b) = (one.ip(), other.ip());
    is_same_port(one, other)
        && a.is_ipv4() == b.is_ipv4()
        && (a == b || a.is_unspecified() || b.is_unspecified())
}

fn is_same_port(one: &SocketAddr, other: &SocketAddr) -> bool {
    one.port() != 0 && one.port() == other.port()
}
