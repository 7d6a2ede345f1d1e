//! The four messages: what is sent of them is fixed bytes, what is received is only counted.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime};

/// How long the API may take for the exchange at start.
const LEARN_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer of the API that is taken at start, bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// What is sent, and how much is received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Messages {
    /// To the API: what ringpress sends for its page.
    pub(crate) request: &'static [u8],
    /// How long the API's answer is, bytes.
    pub(crate) answer_bytes: usize,
    /// To the visitor: a page and its head, as ringpress writes it.
    pub(crate) page: &'static [u8],
    /// To the visitor when the API fails.
    pub(crate) bad_gateway: &'static [u8],
}

impl Messages {
    /// Makes the messages; the API is asked once for the length of its answer.
    ///
    /// # Errors
    /// When the API does not answer as it should.
    pub(crate) fn learn(api: SocketAddr, page: &[u8]) -> io::Result<Self> {
        let request = format!(
            "GET /users/42 HTTP/1.1\r\nHost: {api}\r\nUser-Agent: ringpress/{RINGPRESS}\r\n\r\n"
        );
        let head = format!(
            "HTTP/1.1 200 OK\r\nDate: {}\r\nContent-Type: text/html; charset=utf-8\r\n\
             Content-Length: {}\r\n\r\n",
            httpdate::fmt_http_date(SystemTime::now()),
            page.len()
        );
        let answer_bytes = exchange(api, request.as_bytes()).map_err(|error| {
            let message = format!(
                "the API at {api} does not answer: {error}; start it first, as in `mock-api \
                 --listen {api}`"
            );
            io::Error::new(error.kind(), message)
        })?;
        // They live as long as the program, as the kernel may read them at any time.
        Ok(Self {
            request: request.leak().as_bytes(),
            answer_bytes,
            page: [head.as_bytes(), page].concat().leak(),
            bad_gateway: b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        })
    }
}

/// The version that ringpress tells an API, for the same length.
const RINGPRESS: &str = "0.1.0";

/// Asks the API once, and gives the length of its answer.
fn exchange(api: SocketAddr, request: &[u8]) -> io::Result<usize> {
    let mut stream = TcpStream::connect_timeout(&api, LEARN_TIMEOUT)?;
    stream.set_read_timeout(Some(LEARN_TIMEOUT))?;
    stream.set_write_timeout(Some(LEARN_TIMEOUT))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while answer.len() < ANSWER_BYTES_MAX {
        let count = stream.read(&mut part)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(part.get(..count).unwrap_or_default());
        if let Some(length) = answer_length(&answer)?
            && answer.len() >= length
        {
            return Ok(length);
        }
    }
    Err(io::Error::other(format!("its answer is over {ANSWER_BYTES_MAX} bytes")))
}

/// The length of the answer that begins so, once its head is there.
fn answer_length(answer: &[u8]) -> io::Result<Option<usize>> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default());
    if !head.starts_with("HTTP/1.1 200 ") {
        let line = head.lines().next().unwrap_or_default();
        return Err(io::Error::other(format!("it says {line:?} to GET /users/42")));
    }
    let length = head.lines().filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        let named = name.eq_ignore_ascii_case("content-length");
        if named { value.trim().parse::<usize>().ok() } else { None }
    });
    let length = length.ok_or_else(|| io::Error::other("its answer has no Content-Length"))?;
    Ok(Some(end + 4 + length))
}

/// Finds where requests end, however their bytes arrive: at an empty line. Nothing of them is
/// kept, as all of them get the same answer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestEnds {
    /// How many bytes of CR LF CR LF have just come.
    seen: u8,
}

impl RequestEnds {
    /// How many requests end in these bytes.
    pub(crate) fn count(&mut self, bytes: &[u8]) -> u32 {
        let mut count = 0;
        for &byte in bytes {
            self.seen = match (self.seen, byte) {
                (0 | 2, b'\r') => self.seen + 1,
                (1, b'\n') => 2,
                (3, b'\n') => {
                    count += 1;
                    0
                }
                // The CR may be the first of another line end.
                (_, b'\r') => 1,
                _ => 0,
            };
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ends_are_found_however_the_bytes_arrive() {
        let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /\r\r\n\r\nx\r\n\n\r\n\r\r\n\r\n";
        assert_eq!(RequestEnds::default().count(bytes), 3);
        for split in 0..bytes.len() {
            let (first, second) = bytes.split_at(split);
            let mut ends = RequestEnds::default();
            assert_eq!(ends.count(first) + ends.count(second), 3, "split at {split}");
        }
    }

    #[test]
    fn the_length_of_an_answer_is_that_of_head_and_body() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab";
        assert_eq!(answer_length(answer).unwrap(), Some(41));
        assert_eq!(answer_length(&answer[..30]).unwrap(), None);
        assert!(answer_length(b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\n").is_err());
        assert!(answer_length(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }
}
