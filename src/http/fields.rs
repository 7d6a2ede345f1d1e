//! The field section of a head, and what its fields say about the message and the connection.

use memchr::memchr_iter;

use super::{ParseError, Span, Version, octet};

/// The header fields of a head, in the order they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    fields: Vec<(Span, Span)>,
}

impl Headers {
    /// The value of the first field `name`, in any case, within the buffer that was parsed.
    pub fn get<'a>(&self, buf: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
        self.span(buf, name).map(|value| value.of(buf))
    }

    /// Where the value of the first field `name` stands.
    pub fn span(&self, buf: &[u8], name: &[u8]) -> Option<Span> {
        self.fields
            .iter()
            .find(|(span, _)| span.len() == name.len() && span.of(buf).eq_ignore_ascii_case(name))
            .map(|&(_, value)| value)
    }

    /// Every field, its name and value.
    pub fn iter<'a>(&self, buf: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.fields.iter().map(|(name, value)| (name.of(buf), value.of(buf)))
    }

    /// Every field, as spans of its name and value.
    pub fn spans(&self) -> &[(Span, Span)] {
        &self.fields
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The field section that starts at `from`, and where it ends; `None` while its empty line
    /// has not come.
    pub(super) fn parse(
        buf: &[u8],
        from: usize,
        headers_max: usize,
    ) -> Result<Option<(Self, usize)>, ParseError> {
        let section = buf.get(from..).unwrap_or_default();
        let mut few = [httparse::EMPTY_HEADER; FEW];
        let few = few.get_mut(..headers_max.min(FEW)).unwrap_or_default();
        match httparse::parse_headers(section, few) {
            Err(httparse::Error::TooManyHeaders) if headers_max > FEW => {
                let mut many = vec![httparse::EMPTY_HEADER; headers_max];
                Self::collect(buf, from, httparse::parse_headers(section, &mut many))
            }
            parsed => Self::collect(buf, from, parsed),
        }
    }

    fn collect(
        buf: &[u8],
        from: usize,
        parsed: httparse::Result<(usize, &[httparse::Header<'_>])>,
    ) -> Result<Option<(Self, usize)>, ParseError> {
        let (length, fields) = match parsed {
            Ok(httparse::Status::Complete(complete)) => complete,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(refusal(error)),
        };
        let end = from + length;
        let section = buf.get(from..end).unwrap_or_default();
        // httparse takes a bare LF for a line end, as RFC 9112 section 2.2 lets it. Whoever stands
        // in front of us may not, and would see other fields than we do.
        let mut line_ends = memchr_iter(b'\n', section);
        if line_ends.any(|at| at.checked_sub(1).and_then(|cr| section.get(cr)) != Some(&b'\r')) {
            return Err(ParseError::LineEnding);
        }
        let span = |bytes: &[u8]| {
            let start = (bytes.as_ptr() as usize).wrapping_sub(buf.as_ptr() as usize);
            Span::new(start, start + bytes.len())
        };
        let fields =
            fields.iter().map(|field| (span(field.name.as_bytes()), span(field.value))).collect();
        Ok(Some((Self { fields }, end)))
    }
}

/// What the fields say about framing and the connection, gathered in one pass.
#[derive(Debug, Default)]
pub(super) struct Control {
    pub(super) host: Option<Span>,
    pub(super) host_repeated: bool,
    pub(super) content_length: Option<u64>,
    pub(super) coding: Option<Coding>,
    pub(super) expect_continue: bool,
    pub(super) expect_other: bool,
    close: bool,
    keep_alive: bool,
    /// Whether an element of Transfer-Encoding is empty.
    coding_gap: bool,
}

impl Control {
    pub(super) fn of(buf: &[u8], headers: &Headers) -> Result<Self, ParseError> {
        let mut control = Self::default();
        for &(name, value) in headers.spans() {
            control.note(buf, name.of(buf), value)?;
        }
        // Empty elements are passed over (RFC 9110 section 5.6.1.2), but something must be there.
        if control.coding_gap && control.coding.is_none() {
            control.coding = Some(Coding::Malformed);
        }
        Ok(control)
    }

    /// Whether the connection may serve another exchange (RFC 9112 section 9.3).
    pub(super) fn persists(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }

    fn note(&mut self, buf: &[u8], name: &[u8], value: Span) -> Result<(), ParseError> {
        // Few lengths matter, so most names are compared with nothing.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.host_repeated = self.host.is_some();
                self.host = Some(value);
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                // Empty elements of a list do not count (RFC 9110 section 5.6.1.2).
                for member in list(value.of(buf)).filter(|member| !member.is_empty()) {
                    let met = member.eq_ignore_ascii_case(b"100-continue");
                    self.expect_continue |= met;
                    self.expect_other |= !met;
                }
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for option in list(value.of(buf)) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.content_length.is_some() {
                    return Err(ParseError::ContentLengthRepeated);
                }
                self.content_length = Some(content_length(value.of(buf))?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                for coding in list(value.of(buf)) {
                    if coding.is_empty() {
                        self.coding_gap = true;
                    } else {
                        self.coding = Some(Coding::then(self.coding, coding));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// What the Transfer-Encoding fields add up to (RFC 9112 section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// `chunked` and nothing else.
    Chunked,
    /// Other codings, then `chunked` once: framed, but not to be understood.
    OthersThenChunked,
    /// Codings that do not end with `chunked` yet.
    Others,
    /// Something that is no coding, or one after `chunked`.
    Malformed,
}

impl Coding {
    pub(super) fn check(self) -> Result<(), ParseError> {
        match self {
            Self::Chunked => Ok(()),
            Self::OthersThenChunked => Err(ParseError::TransferCodingUnknown),
            Self::Others | Self::Malformed => Err(ParseError::TransferCoding),
        }
    }

    fn then(before: Option<Self>, coding: &[u8]) -> Self {
        let name_end = memchr::memchr(b';', coding).unwrap_or(coding.len());
        let name = coding.get(..name_end).unwrap_or_default().trim_ascii_end();
        let chunked = name.eq_ignore_ascii_case(b"chunked");
        let parameters = name_end < coding.len();
        // `chunked` has no parameters (RFC 9112 section 7.1).
        if name.is_empty()
            || !name.iter().all(|&byte| octet::is_tchar(byte))
            || (chunked && parameters)
        {
            return Self::Malformed;
        }
        match (before, chunked) {
            (None, true) => Self::Chunked,
            (Some(Self::Others), true) => Self::OthersThenChunked,
            (None | Some(Self::Others), false) => Self::Others,
            _ => Self::Malformed,
        }
    }
}

/// The elements of a comma-separated list, without the white space around them.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

/// One number in digits (RFC 9110 section 8.6).
fn content_length(digits: &[u8]) -> Result<u64, ParseError> {
    if digits.is_empty() {
        return Err(ParseError::ContentLength);
    }
    digits
        .iter()
        .try_fold(0_u64, |length, byte| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            length.checked_mul(10)?.checked_add(digit)
        })
        .ok_or(ParseError::ContentLength)
}

fn refusal(error: httparse::Error) -> ParseError {
    match error {
        httparse::Error::HeaderValue => ParseError::FieldValue,
        httparse::Error::NewLine => ParseError::LineEnding,
        httparse::Error::TooManyHeaders => ParseError::TooManyHeaders,
        _ => ParseError::FieldName,
    }
}

/// Fields for which no memory is asked of the heap while parsing; browsers send 10 to 25.
const FEW: usize = 32;
