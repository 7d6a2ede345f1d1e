//! Status lines, ready-made (RFC 9110 section 15; 428, 429, 431 and 511 are of RFC 6585).

/// The reason phrase of a status, or nothing where it has none.
pub fn reason_phrase(status: u16) -> &'static str {
    let line = status_line(status).unwrap_or_default();
    let phrase = line.get(PREFIX..line.len().saturating_sub(2)).unwrap_or_default();
    std::str::from_utf8(phrase).unwrap_or_default()
}

/// Whether a response with this status may have content, be it empty (RFC 9110 section 6.4.1).
pub fn has_content(status: u16) -> bool {
    !matches!(status, 100..=199 | 204 | 304)
}

macro_rules! status_lines {
    ($($status:literal $phrase:literal)*) => {
        /// The whole line, CRLF included.
        pub(super) fn status_line(status: u16) -> Option<&'static [u8]> {
            match status {
                $($status => Some(
                    concat!("HTTP/1.1 ", stringify!($status), " ", $phrase, "\r\n").as_bytes()
                ),)*
                _ => None,
            }
        }
    };
}

status_lines! {
    100 "Continue"
    101 "Switching Protocols"
    200 "OK"
    201 "Created"
    202 "Accepted"
    203 "Non-Authoritative Information"
    204 "No Content"
    205 "Reset Content"
    206 "Partial Content"
    300 "Multiple Choices"
    301 "Moved Permanently"
    302 "Found"
    303 "See Other"
    304 "Not Modified"
    305 "Use Proxy"
    307 "Temporary Redirect"
    308 "Permanent Redirect"
    400 "Bad Request"
    401 "Unauthorized"
    402 "Payment Required"
    403 "Forbidden"
    404 "Not Found"
    405 "Method Not Allowed"
    406 "Not Acceptable"
    407 "Proxy Authentication Required"
    408 "Request Timeout"
    409 "Conflict"
    410 "Gone"
    411 "Length Required"
    412 "Precondition Failed"
    413 "Content Too Large"
    414 "URI Too Long"
    415 "Unsupported Media Type"
    416 "Range Not Satisfiable"
    417 "Expectation Failed"
    421 "Misdirected Request"
    422 "Unprocessable Content"
    426 "Upgrade Required"
    428 "Precondition Required"
    429 "Too Many Requests"
    431 "Request Header Fields Too Large"
    500 "Internal Server Error"
    501 "Not Implemented"
    502 "Bad Gateway"
    503 "Service Unavailable"
    504 "Gateway Timeout"
    505 "HTTP Version Not Supported"
    511 "Network Authentication Required"
}

/// `HTTP/1.1 200 `
const PREFIX: usize = 13;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_is_the_one_of_the_line() {
        assert_eq!(reason_phrase(200), "OK");
        assert_eq!(reason_phrase(431), "Request Header Fields Too Large");
        assert_eq!(reason_phrase(299), "");
        assert_eq!(status_line(414), Some(&b"HTTP/1.1 414 URI Too Long\r\n"[..]));
    }
}
