//! Options that several commands share, and what they mean.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::{self, Workers};
use crate::control::recordings;
use crate::driver::kind::Choice;
use crate::limits::authoring::PORTS_TRIED;
use crate::site::{AccessTarget, AdminAddress, StandIn};
use crate::worker::listener::is_free;

/// Where and how to serve; each goes before what the site file says.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ServerOptions {
    /// Address to listen on, several times for several; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", env = "RINGPRESS_LISTEN", value_delimiter = ',',
          value_parser = listen)]
    pub(super) listen: Vec<SocketAddr>,
    /// `all`, a number of workers, or the CPUs to pin them to, as in `0,2,4` (one CPU: `0,`)
    #[arg(long, value_name = "all|N|CPU,CPU,...", env = "RINGPRESS_WORKERS",
          value_parser = workers)]
    pub(super) workers: Option<Workers>,
    /// auto, monoio, ring, tokio-uring or epoll
    #[arg(long, value_name = "DRIVER", env = "RINGPRESS_DRIVER")]
    pub(super) driver: Option<Choice>,
}

/// An address to listen on.
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    config::listen_address(text)
        .ok_or_else(|| "write an IP address and a port, as in 127.0.0.1:8080 or [::]:80".into())
}

/// `--admin`: an address, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AdminChoice(pub(super) Option<AdminAddress>);

/// Reads it.
pub(super) fn admin(text: &str) -> Result<AdminChoice, String> {
    if text == "off" {
        return Ok(AdminChoice(None));
    }
    AdminAddress::parse(text).map(|address| AdminChoice(Some(address))).ok_or_else(|| {
        "write an address as in 127.0.0.1:9180 or unix:/run/ringpress/admin.sock, or `off`".into()
    })
}

/// `--offline`: the folder whose recorded answers are given in place of upstreams'.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct OfflineOption {
    /// Ask no upstream: answers come from this folder, which `ringpress record` has made
    #[arg(long, value_name = "DIR", env = "RINGPRESS_OFFLINE")]
    offline: Option<PathBuf>,
}

impl OfflineOption {
    /// The answers, if they are to be taken.
    ///
    /// # Errors
    /// In words, when they cannot be read.
    pub(super) fn read(&self) -> Result<Option<StandIn>, String> {
        self.offline.as_deref().map(recordings::read).transpose()
    }
}

/// The first free address of the loopback from a port on; that itself when none is, which then says
/// why.
pub(super) fn free_address(from: u16) -> SocketAddr {
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let free = (from..from + PORTS_TRIED).map(address).find(|address| is_free(*address).is_ok());
    free.unwrap_or(address(from))
}

/// Where a site is looked for first.
pub(super) const PORT: u16 = 8080;

/// `--workers`.
fn workers(text: &str) -> Result<Workers, String> {
    const FORM: &str = "write `all`, a number of workers, or CPUs as in `0,2,4` (one CPU: `0,`)";
    if text == "all" {
        return Ok(Workers::All);
    }
    let numbers = text.strip_suffix(',').unwrap_or(text).split(',');
    let numbers: Vec<usize> = numbers
        .map(|number| number.trim().parse().map_err(|_| FORM.to_owned()))
        .collect::<Result<_, _>>()?;
    match numbers.as_slice() {
        [0] if !text.contains(',') => Err(format!("no worker would serve: {FORM}")),
        [count] if !text.contains(',') => Ok(Workers::Count(*count)),
        _ => Ok(Workers::Cpus(numbers)),
    }
}

/// `--upstream`: a name of the site's, and the URL to use for it.
pub(super) fn upstream(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, url)| !name.is_empty() && !url.is_empty());
    pair.map(|(name, url)| (name.to_owned(), url.to_owned())).ok_or_else(|| {
        "write NAME=URL, as in api=http://127.0.0.1:9100 or api=https://staging.example.com".into()
    })
}

/// A time, as in the site file.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    config::parse_duration(text)
        .ok_or_else(|| "write a time with its unit, as in 300us, 50ms, 2s or 1m".into())
}

/// `--memo-max`.
pub(super) fn memo(text: &str) -> Result<u64, String> {
    if text == "off" { Ok(0) } else { size(text) }
}

/// `--access-log`: where to, if anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AccessLogOption(pub(super) Option<AccessTarget>);

/// `--access-log`. A path is taken from where the command runs, not from the site's folder on.
pub(super) fn access_log(text: &str) -> Result<AccessLogOption, String> {
    let to = match AccessTarget::named(text) {
        AccessTarget::File(path) if path.as_os_str() == "off" => None,
        AccessTarget::File(path) => {
            let path = std::path::absolute(path).map_err(|error| error.to_string())?;
            Some(AccessTarget::File(path))
        }
        stream => Some(stream),
    };
    Ok(AccessLogOption(to))
}

/// A size in bytes, as in the site file.
pub(super) fn size(text: &str) -> Result<u64, String> {
    config::parse_size(text)
        .ok_or_else(|| "write a size with its unit, as in 512KiB or 60MiB".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_all_a_count_or_cpus() {
        assert_eq!(workers("all"), Ok(Workers::All));
        assert_eq!(workers("3"), Ok(Workers::Count(3)));
        assert_eq!(workers("0,2,4"), Ok(Workers::Cpus(vec![0, 2, 4])));
        assert_eq!(workers("0,"), Ok(Workers::Cpus(vec![0])));
        assert!(workers("0").is_err());
        assert!(workers("some").is_err_and(|error| error.contains("`all`")));
    }
}
