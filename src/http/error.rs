//! Why a message was refused.

use std::fmt;

/// Why a message was refused. On the server each one is answered with its status, and the
/// connection closed, since where the next message starts is in doubt. On the client each one is
/// a broken upstream: 502, and the connection is not pooled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParseError {
    /// More empty lines before the request line than are skipped.
    EmptyLines,
    /// The method is not a token.
    Method,
    /// The request line is not `method SP target SP version CRLF`.
    RequestLine,
    /// An octet that no target may hold.
    Target,
    /// A target in a form that its method does not have.
    TargetForm,
    /// An https URL on a connection that is not TLS.
    TargetScheme,
    /// The target is over its limit.
    TargetTooLong,
    /// A major version other than 1.
    Version,
    /// The status line is not `version SP status SP [reason] CRLF`.
    StatusLine,
    /// A field line without a name and a colon right after it, or one that is folded.
    FieldName,
    /// An octet that no field value may hold.
    FieldValue,
    /// A line that ends with a bare LF or CR.
    LineEnding,
    /// The head is over its limit.
    HeadTooLong,
    /// More fields than the limit.
    TooManyHeaders,
    /// No Host in HTTP/1.1.
    HostMissing,
    /// More than one Host.
    HostRepeated,
    /// A Host that is not a host and a port.
    HostMalformed,
    /// A Content-Length that is not one number in digits.
    ContentLength,
    /// More than one Content-Length.
    ContentLengthRepeated,
    /// Content-Length and Transfer-Encoding at once.
    LengthAndCoding,
    /// A Transfer-Encoding that does not end with one `chunked`.
    TransferCoding,
    /// A transfer coding besides `chunked`.
    TransferCodingUnknown,
    /// A Transfer-Encoding in HTTP/1.0.
    TransferCodingVersion,
    /// The body is over its limit.
    BodyTooLong,
    /// An expectation other than `100-continue`.
    Expectation,
    /// An interim response that announces a body.
    InterimBody,
    /// A switch of protocols that nobody asked for.
    SwitchingProtocols,
    /// A chunk size that is not a number in hexadecimal digits.
    ChunkSize,
    /// An octet that no chunk extension may hold.
    ChunkExtension,
    /// A chunk-size line over its limit.
    ChunkLineTooLong,
    /// A chunk that is not followed by CRLF.
    ChunkEnd,
    /// A trailer that is not a field line.
    Trailer,
    /// A trailer section over its limit.
    TrailerTooLong,
    /// The connection ended within a body.
    Truncated,
}

impl ParseError {
    /// The status a server answers with (RFC 9110 section 15; 431 is of RFC 6585).
    pub fn status(self) -> u16 {
        match self {
            Self::BodyTooLong => 413,
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            Self::TargetScheme => 421,
            Self::HeadTooLong | Self::TooManyHeaders | Self::TrailerTooLong => 431,
            Self::TransferCodingUnknown => 501,
            Self::StatusLine | Self::InterimBody | Self::SwitchingProtocols => 502,
            Self::Version => 505,
            _ => 400,
        }
    }

    /// What is wrong, in one sentence that whoever sent the message can act on.
    pub fn reason(self) -> &'static str {
        match self {
            Self::EmptyLines => "There are too many empty lines before the request line.",
            Self::Method => "The method is not a token.",
            Self::RequestLine => {
                "The request line must be a method, a target and HTTP/1.1, with one space between."
            }
            Self::Target => {
                "The target holds an octet that must be percent-encoded, or a fragment."
            }
            Self::TargetForm => {
                "The target must be a path or an http URL; only OPTIONS may ask for * \
                 and only CONNECT for a host and port."
            }
            Self::TargetScheme => "An https URL cannot be asked for without TLS.",
            Self::TargetTooLong => "The target is longer than this server accepts.",
            Self::Version => "Only HTTP/1.1 and HTTP/1.0 are spoken here.",
            Self::StatusLine => "The status line is malformed.",
            Self::FieldName => {
                "A field line must start with a name and a colon, without space before either."
            }
            Self::FieldValue => "A field value holds a control character.",
            Self::LineEnding => "A line must end with CR and LF together.",
            Self::HeadTooLong => "The header section is longer than is accepted.",
            Self::TooManyHeaders => "There are more header fields than are accepted.",
            Self::HostMissing => "An HTTP/1.1 request must have a Host field.",
            Self::HostRepeated => "There must be one Host field only.",
            Self::HostMalformed => "The host must be a name or an address, and maybe a port.",
            Self::ContentLength => "Content-Length must be one number, in digits only.",
            Self::ContentLengthRepeated => "There must be one Content-Length field only.",
            Self::LengthAndCoding => {
                "Content-Length and Transfer-Encoding must not be sent together."
            }
            Self::TransferCoding => "Transfer-Encoding must end with chunked, once.",
            Self::TransferCodingUnknown => "The only transfer coding understood is chunked.",
            Self::TransferCodingVersion => "HTTP/1.0 has no Transfer-Encoding.",
            Self::BodyTooLong => "The body is longer than is accepted.",
            Self::Expectation => "The only expectation that can be met is 100-continue.",
            Self::InterimBody => "An interim response announces a body.",
            Self::SwitchingProtocols => "The protocol was switched though nobody asked.",
            Self::ChunkSize => "A chunk size must be hexadecimal digits only.",
            Self::ChunkExtension => "A chunk extension holds a control character.",
            Self::ChunkLineTooLong => "A chunk-size line is longer than is accepted.",
            Self::ChunkEnd => "A chunk must be followed by CR and LF.",
            Self::Trailer => "A trailer is not a field line.",
            Self::TrailerTooLong => "The trailer section is longer than is accepted.",
            Self::Truncated => "The connection ended before the body did.",
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for ParseError {}
