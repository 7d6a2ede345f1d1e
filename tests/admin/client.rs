//! Who asks the admin listener, over TCP or a Unix socket; and a server to ask.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::command::Running;
use super::visitor::PATIENCE;

/// A token that is long enough.
pub(crate) const TOKEN: &str = "0123456789abcdef";

/// Something to ask the admin listener by.
pub(crate) trait Line: Read + Write {}
impl<T: Read + Write> Line for T {}

/// Where a server's admin listener is, as it says.
#[derive(Clone)]
pub(crate) struct Admin(pub(crate) String);

impl Admin {
    pub(crate) fn of(server: &Running) -> Self {
        let line = server.waits_for_line("admin at ");
        Self(line.replace("admin at ", ""))
    }

    pub(crate) fn line(&self) -> Box<dyn Line> {
        match self.0.strip_prefix("unix:") {
            Some(path) => {
                let stream = UnixStream::connect(Path::new(path)).expect("connect");
                stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                Box::new(stream)
            }
            None => {
                let stream = TcpStream::connect(&self.0).expect("connect");
                stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                Box::new(stream)
            }
        }
    }

    /// A GET with the token, and its answer's body.
    pub(crate) fn get(&self, path: &str) -> String {
        let answer = self.ask("GET", path, &[("Authorization", &format!("Bearer {TOKEN}"))]);
        assert_eq!(answer.status, 200, "{path}: {}{}", answer.head, answer.body);
        answer.body
    }

    pub(crate) fn ask(&self, method: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut line = self.line();
        let host =
            if fields.iter().any(|(name, _)| *name == "Host") { "" } else { "Host: [::1]\r\n" };
        let fields: String =
            fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request =
            format!("{method} {path} HTTP/1.1\r\n{host}{fields}Connection: close\r\n\r\n");
        line.write_all(request.as_bytes()).expect("send");
        Answer::rest_of(&mut *line)
    }
}

/// A response, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// All that comes until the end of a connection.
    pub(crate) fn rest_of(line: &mut dyn Line) -> Self {
        let mut text = String::new();
        line.read_to_string(&mut text).expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        let status = head.get(9..12).and_then(|status| status.parse().ok()).expect("a status");
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }
}
