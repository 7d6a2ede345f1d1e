//! What ties a request to those it leads to: `traceparent` (W3C Trace Context) and request ids.

#![expect(clippy::indexing_slicing, reason = "places within an array of 55")]

/// Whether a `traceparent` is one that may be handed on: version, trace, parent and flags in hex,
/// lower case, neither of the ids all zeros (W3C Trace Context section 3.2.2).
pub fn is_traceparent(value: &[u8]) -> bool {
    let Some((known, rest)) = value.split_first_chunk::<55>() else { return false };
    let hex = |from: usize, to: usize| {
        let part = known.get(from..to).unwrap_or_default();
        part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_set = |from: usize, to: usize| {
        let part = known.get(from..to).unwrap_or_default();
        part.iter().any(|&byte| byte != b'0')
    };
    let dashes = [2, 35, 52].iter().all(|&at| known[at] == b'-');
    // What later versions append begins with a dash; this one appends nothing.
    let end = match &known[..2] {
        b"ff" => false,
        b"00" => rest.is_empty(),
        _ => rest.is_empty() || rest.first() == Some(&b'-'),
    };
    let ids = hex(0, 2) && hex(3, 35) && hex(36, 52) && hex(53, 55);
    dashes && end && ids && is_set(3, 35) && is_set(36, 52)
}

/// Whether a request id of a proxy may be taken over: 1 to 64 characters that cannot break a log
/// line or a header.
pub fn is_request_id(value: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:=+/".contains(byte);
    (1..=REQUEST_ID_BYTES_MAX).contains(&value.len()) && value.iter().all(plain)
}

const REQUEST_ID_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparents() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let parent = "00f067aa0ba902b7";
        for fine in [
            format!("00-{trace}-{parent}-01"),
            format!("cc-{trace}-{parent}-00"),
            format!("cc-{trace}-{parent}-00-later"),
        ] {
            assert!(is_traceparent(fine.as_bytes()), "{fine}");
        }
        let zeros = "0".repeat(32);
        for wrong in [
            String::new(),
            format!("00-{trace}-{parent}"),
            format!("00-{trace}-{parent}-01-"),
            format!("00-{trace}-{parent}-1g"),
            format!("ff-{trace}-{parent}-01"),
            format!("cc-{trace}-{parent}-01x"),
            format!("00-{zeros}-{parent}-01"),
            format!("00-{trace}-{}-01", &zeros[..16]),
            format!("00-{}-{parent}-01", trace.to_uppercase()),
            format!("00_{trace}-{parent}-01"),
            format!("0x-{trace}-{parent}-01"),
        ] {
            assert!(!is_traceparent(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn request_ids() {
        for fine in ["a", "2f0c-1", "Root=1-67891233-abcdef012345678912345678"] {
            assert!(is_request_id(fine.as_bytes()), "{fine}");
        }
        for wrong in ["", "a b", "a\r\nb", "a\"b", "é", &"x".repeat(65)] {
            assert!(!is_request_id(wrong.as_bytes()), "{wrong}");
        }
    }
}
