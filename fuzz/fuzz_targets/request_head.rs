//! A request head, whatever comes: read or refused, with its spans in range, and the same answer
//! however it was cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringpress::http::{Framing, Limits, Span, path, request};

fuzz_target!(|bytes: &[u8]| {
    let limits =
        Limits { head_bytes_max: 512, target_bytes_max: 128, headers_max: 8, ..Limits::default() };
    for limits in [Limits::default(), limits] {
        let whole = request::parse(bytes, &limits);
        for end in 0..bytes.len().min(600) {
            let part = request::parse(&bytes[..end], &limits);
            assert!(part == Ok(None) || part == whole, "{part:?} of {end}, {whole:?} of all");
        }
        let Ok(Some(head)) = whole else { continue };
        assert!(head.length <= bytes.len() && head.length <= limits.head_bytes_max);
        assert!(head.headers.len() <= limits.headers_max);
        assert!(head.target.len() <= limits.target_bytes_max);
        assert!(head.body != Framing::UntilClose);
        assert!(bytes[..head.length].ends_with(b"\r\n\r\n"));
        let in_range = |span: &Span| span.start <= span.end && span.end as usize <= head.length;
        let spans = [head.method_span, head.target, head.path];
        assert!(spans.iter().chain(&head.query).chain(&head.host).all(in_range));
        assert!(head.headers.spans().iter().all(|(name, value)| in_range(name) && in_range(value)));
        if let Ok(normal) = path::normalize(head.path.of(bytes)) {
            assert_eq!(path::normalize(&normal).as_deref(), Ok(&*normal));
        }
    }
});
