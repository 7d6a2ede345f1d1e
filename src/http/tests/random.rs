//! Whatever comes: no panic, no span outside the buffer, no answer that hangs on how it was split.

use super::chunks::feed;
use super::*;
use proptest::prelude::*;

/// Bytes that look like HTTP often enough to get far.
fn scraps() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&'static [u8]> = vec![
        b"GET ",
        b"CONNECT ",
        b"OPTIONS ",
        b"/",
        b"/a?b",
        b"*",
        b"http://b",
        b"a:80",
        b" ",
        b" HTTP/1.1\r\n",
        b" HTTP/1.0\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 204 \r\n",
        b"Host: a\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"A: b\r\n",
        b"A:",
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"0\r\n",
        b";x",
        b"f",
        b"%",
        b"%41",
        b"%2f",
        b"=",
        b"&",
    ];
    let scrap = prop_oneof![
        4 => prop::sample::select(known).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(scrap, 0..16).prop_map(|scraps| scraps.concat())
}

/// A request that is accepted, or nearly.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    scraps().prop_map(|fields| [&b"GET /a?b HTTP/1.1\r\nHost: a\r\n"[..], &fields].concat())
}

fn in_range(span: Span, buf: &[u8]) -> bool {
    span.start <= span.end && span.end as usize <= buf.len()
}

fn fields_in_range(headers: &Headers, buf: &[u8]) -> bool {
    headers
        .spans()
        .iter()
        .all(|&(name, value)| in_range(name, buf) && in_range(value, buf) && !name.is_empty())
}

/// Asserts that a part of `bytes` is answered as the whole is, or asks for more.
fn same_in_parts<T: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    parse: impl Fn(&[u8]) -> Result<Option<T>, ParseError>,
) -> Result<(), TestCaseError> {
    let whole = parse(bytes);
    for end in 0..bytes.len() {
        let part = parse(&bytes[..end]);
        prop_assert!(part == Ok(None) || part == whole, "{part:?} of {end}, {whole:?} of all");
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_request_is_read_or_refused(bytes in prop_oneof![scraps(), requests()]) {
        for limits in [Limits::default(), small()] {
            same_in_parts(&bytes, |bytes| request::parse(bytes, &limits))?;
            if let Ok(Some(head)) = request::parse(&bytes, &limits) {
                prop_assert!(head.length <= bytes.len() && head.length <= limits.head_bytes_max);
                prop_assert!(head.target.len() <= limits.target_bytes_max);
                prop_assert!(head.headers.len() <= limits.headers_max);
                prop_assert!(fields_in_range(&head.headers, &bytes));
                let spans = [head.method_span, head.target, head.path];
                for span in spans.into_iter().chain(head.query).chain(head.host) {
                    prop_assert!(in_range(span, &bytes));
                }
                prop_assert!(!head.path.is_empty());
                prop_assert!(head.body != Framing::UntilClose);
                prop_assert!(bytes[..head.length].ends_with(b"\r\n\r\n"));
            }
        }
    }

    #[test]
    fn a_response_is_read_or_refused(fields in scraps(), to_head: bool) {
        for bytes in [[&b"HTTP/1.1 200 OK\r\n"[..], &fields].concat(), fields.clone()] {
            for limits in [Limits::response(), small()] {
                same_in_parts(&bytes, |bytes| response::parse(bytes, &limits, to_head))?;
                if let Ok(Some(head)) = response::parse(&bytes, &limits, to_head) {
                    prop_assert!(head.length <= bytes.len());
                    prop_assert!(fields_in_range(&head.headers, &bytes));
                    prop_assert!(!(head.keep_alive && head.framing == Framing::UntilClose));
                }
            }
        }
    }

    #[test]
    fn chunks_decode_to_what_was_encoded(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
        after in prop::collection::vec(any::<u8>(), 0..20),
        cuts in prop::collection::vec(1_usize..30, 1..20),
    ) {
        let mut bytes = Vec::new();
        for chunk in &chunks {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes.extend_from_slice(&after);
        let expected = Ok(Some((chunks.concat(), after)));
        prop_assert_eq!(feed(pieces(&bytes, &cuts), 400), expected);
    }

    #[test]
    fn a_body_is_decoded_or_refused(
        bytes in scraps(),
        cuts in prop::collection::vec(1_usize..30, 1..20),
    ) {
        let whole = feed([&bytes[..]], 20);
        if let Ok(Some((body, _))) = &whole {
            prop_assert!(body.len() <= 20);
        }
        prop_assert_eq!(feed(pieces(&bytes, &cuts), 20), whole);
    }

    #[test]
    fn a_path_is_read_or_refused(bytes in scraps()) {
        if let Ok(normal) = path::normalize(&bytes) {
            prop_assert_eq!(path::normalize(&normal).unwrap(), normal.clone());
            prop_assert!(normal.iter().all(u8::is_ascii_graphic));
            let slashes = |path: &[u8]| path.iter().filter(|&&byte| byte == b'/').count();
            prop_assert_eq!(slashes(&normal), slashes(&bytes), "a segment was made or lost");
        }
        if let Ok(text) = path::decode_segment(&bytes) {
            prop_assert!(text.len() <= bytes.len());
        }
        for (name, value) in path::query_pairs(&bytes) {
            prop_assert!(name.len() + value.len() <= bytes.len() * 3);
        }
    }

    #[test]
    fn a_span_of_another_buffer_is_empty(start: u32, end: u32) {
        let span = Span { start, end };
        prop_assert!(span.of(b"some").len() <= 4);
        prop_assert!(span.of(b"").is_empty());
    }
}

/// Cuts `bytes` into pieces as long as `cuts`, over and over.
fn pieces<'a>(mut bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for &cut in cuts.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at(cut.min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}
