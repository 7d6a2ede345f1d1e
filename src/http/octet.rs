//! Which octet may stand where, as one table of classes.

#![expect(clippy::indexing_slicing, reason = "a table has a place for each octet")]

/// `tchar` (RFC 9110 section 5.6.2).
pub(super) fn is_tchar(byte: u8) -> bool {
    has(byte, TCHAR)
}

/// A visible ASCII character but `#`: a target has no fragment (RFC 9112 section 3.2).
pub(super) fn is_target(byte: u8) -> bool {
    has(byte, TARGET)
}

/// `field-vchar`, space or tab (RFC 9110 section 5.5).
pub(super) fn is_field_value(byte: u8) -> bool {
    has(byte, VALUE)
}

/// A character of `reg-name` but `%` (RFC 3986 section 3.2.2).
pub(super) fn is_reg_name(byte: u8) -> bool {
    has(byte, REG_NAME)
}

/// A character of `pchar` but `%`, or the slash (RFC 3986 section 3.3).
pub(super) fn is_path(byte: u8) -> bool {
    has(byte, PATH)
}

/// `unreserved` (RFC 3986 section 2.3).
pub(super) fn is_unreserved(byte: u8) -> bool {
    has(byte, UNRESERVED)
}

/// The value of a hexadecimal digit.
pub(super) fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

fn has(byte: u8, class: u8) -> bool {
    CLASSES[byte as usize] & class != 0
}

const TCHAR: u8 = 1;
const TARGET: u8 = 1 << 1;
const VALUE: u8 = 1 << 2;
const REG_NAME: u8 = 1 << 3;
const PATH: u8 = 1 << 4;
const UNRESERVED: u8 = 1 << 5;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        table[index] = class(index as u8);
        index += 1;
    }
    table
}

const fn class(byte: u8) -> u8 {
    let unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let sub_delim =
        matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=');
    let mut class = 0;
    if byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
    {
        class |= TCHAR;
    }
    if byte.is_ascii_graphic() && byte != b'#' {
        class |= TARGET;
    }
    if byte.is_ascii_graphic() || byte == b' ' || byte == b'\t' || byte >= 0x80 {
        class |= VALUE;
    }
    if unreserved {
        class |= UNRESERVED;
    }
    if unreserved || sub_delim {
        class |= REG_NAME | PATH;
    }
    if matches!(byte, b':' | b'@' | b'/') {
        class |= PATH;
    }
    class
}
