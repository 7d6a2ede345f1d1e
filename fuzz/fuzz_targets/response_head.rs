//! A response head, whatever comes: read or refused, with its spans in range, and the same answer
//! however it was cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringpress::http::{Framing, Limits, Span, response};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { head_bytes_max: 512, headers_max: 8, ..Limits::response() };
    for (limits, to_head) in [(Limits::response(), false), (limits, false), (limits, true)] {
        let whole = response::parse(bytes, &limits, to_head);
        for end in 0..bytes.len().min(600) {
            let part = response::parse(&bytes[..end], &limits, to_head);
            assert!(part == Ok(None) || part == whole, "{part:?} of {end}, {whole:?} of all");
        }
        let Ok(Some(head)) = whole else { continue };
        assert!(head.length <= bytes.len() && head.length <= limits.head_bytes_max);
        assert!(head.headers.len() <= limits.headers_max);
        assert!(!(head.keep_alive && head.framing == Framing::UntilClose));
        assert!(!to_head || head.framing == Framing::None);
        let in_range = |span: &Span| span.start <= span.end && span.end as usize <= head.length;
        assert!(head.headers.spans().iter().all(|(name, value)| in_range(name) && in_range(value)));
    }
});
