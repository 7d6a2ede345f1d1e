//! A chunked body, whatever comes: the same outcome whole, byte by byte and cut by chance, never
//! over its limit, and nothing before it touched.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringpress::http::{ChunkedDecoder, ParseError};

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    let whole = feed(std::iter::once(bytes));
    if let Ok(Some((body, _))) = &whole {
        assert!(body.len() as u64 <= BODY_BYTES_MAX);
    }
    assert_eq!(feed(bytes.chunks(1)), whole);
    assert_eq!(feed(bytes.chunks(usize::from(cut).max(1))), whole);
});

/// What a body decodes to and what stands after it; `None` when it has not ended.
fn feed<'a>(
    parts: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<(Vec<u8>, Vec<u8>)>, ParseError> {
    let head = b"head";
    let mut decoder = ChunkedDecoder::new(BODY_BYTES_MAX);
    let mut buffer = head.to_vec();
    let mut end = head.len();
    for part in parts {
        buffer.extend_from_slice(part);
        let progress = decoder.decode(&mut buffer, end)?;
        assert!(progress.end >= end && progress.end <= buffer.len());
        assert!(progress.done || progress.end == buffer.len());
        assert_eq!(progress.done, decoder.is_done());
        assert_eq!(&buffer[..head.len()], head);
        end = progress.end;
    }
    let body = buffer[head.len()..end].to_vec();
    Ok(decoder.is_done().then(|| (body, buffer.split_off(end))))
}

const BODY_BYTES_MAX: u64 = 1000;
