//! Packs bytes in the content codings of HTTP (RFC 9110 section 8.4.1): zstd, Brotli and gzip.
//!
//! A [`Packer`] is a worker's own. What its encoders need is made when they are first asked for,
//! and used again for all that comes after. Refuses what would not become smaller, and what is too
//! long to be packed in one go while a loop waits: then the bytes go out as they are.

mod brotli;

use flate2::{Compress, Compression, FlushCompress, Status};
use zstd::bulk::Compressor;

use crate::http::Coding;
use crate::limits::{COMPRESS_BYTES_MAX, COMPRESS_SCRATCH_BYTES_MAX};

/// How hard each encoder tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// Of zstd, 1 to 22.
    pub zstd: i32,
    /// Of Brotli, 0 to 11.
    pub brotli: u8,
    /// Of gzip, 1 to 9.
    pub gzip: u8,
}

impl Levels {
    /// For bytes that are packed each time that they are sent: where more time would buy few bytes
    /// (bench/README.md has the figures).
    pub const QUICK: Self = Self { zstd: 1, brotli: 4, gzip: 1 };
    /// For bytes that are packed once and sent many times, and small enough for a loop to wait.
    /// Brotli above 4 is none of that: it takes milliseconds for any page.
    pub const SMALL: Self = Self { zstd: 9, brotli: 4, gzip: 6 };
}

/// Encoders, for one thread.
pub struct Packer {
    levels: Levels,
    zstd: Option<Compressor<'static>>,
    gzip: Option<Compress>,
    /// What was packed last.
    packed: Vec<u8>,
}

impl Packer {
    /// Encoders that try so hard. None of them takes memory before it is used.
    pub fn new(levels: Levels) -> Self {
        Self { levels, zstd: None, gzip: None, packed: Vec::new() }
    }

    /// Appends the packed bytes to `out`. Where they would not be fewer, or are too many for one
    /// go, or an encoder fails, it appends nothing and says so.
    pub fn pack(&mut self, coding: Coding, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        if bytes.len() > COMPRESS_BYTES_MAX {
            return false;
        }
        // Room for less than the bytes themselves: whatever does not fit is of no use.
        out.resize(start + bytes.len().saturating_sub(1), 0);
        let room = out.get_mut(start..).unwrap_or_default();
        let length = match coding {
            Coding::Identity => None,
            Coding::Zstd => self.pack_zstd(bytes, room),
            Coding::Brotli => brotli::pack(self.levels.brotli, bytes, room),
            Coding::Gzip => self.pack_gzip(bytes, room),
        };
        out.truncate(start + length.unwrap_or(0));
        length.is_some()
    }

    /// Puts the packed bytes in the place of `out[from..]`; or leaves that as it is, and says so.
    pub fn pack_in_place(&mut self, coding: Coding, out: &mut Vec<u8>, from: usize) -> bool {
        let mut packed = std::mem::take(&mut self.packed);
        packed.clear();
        let is_packed = self.pack(coding, out.get(from..).unwrap_or_default(), &mut packed);
        if is_packed {
            out.truncate(from);
            out.extend_from_slice(&packed);
        }
        // One long page is not to hold its room for ever.
        if packed.capacity() <= COMPRESS_SCRATCH_BYTES_MAX {
            self.packed = packed;
        }
        is_packed
    }

    fn pack_zstd(&mut self, bytes: &[u8], room: &mut [u8]) -> Option<usize> {
        let encoder = match &mut self.zstd {
            Some(encoder) => encoder,
            none => none.insert(Compressor::new(self.levels.zstd).ok()?),
        };
        encoder.compress_to_buffer(bytes, room).ok()
    }

    fn pack_gzip(&mut self, bytes: &[u8], room: &mut [u8]) -> Option<usize> {
        let level = Compression::new(self.levels.gzip.into());
        let encoder = self.gzip.get_or_insert_with(|| Compress::new_gzip(level, WINDOW_BITS));
        encoder.reset();
        match encoder.compress(bytes, room, FlushCompress::Finish) {
            Ok(Status::StreamEnd) => usize::try_from(encoder.total_out()).ok(),
            _ => None,
        }
    }
}

/// Whether what has this media type gets smaller by packing it: texts, and little else.
pub fn is_packable(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim_ascii();
    let (kind, name) = essence.split_once('/').unwrap_or_default();
    kind.eq_ignore_ascii_case("text")
        || PACKABLE.iter().any(|text| essence.eq_ignore_ascii_case(text))
        || ["+json", "+xml"].iter().any(|suffix| {
            let at = name.len().saturating_sub(suffix.len());
            name.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
        })
}

/// Media types that get smaller, and do not say so by their first half nor by a suffix.
const PACKABLE: [&str; 6] = [
    "application/json",
    "application/javascript",
    "application/xml",
    "application/wasm",
    "image/x-icon",
    "application/x-ndjson",
];
/// Of gzip: the most there is, as all readers take it (RFC 1951 section 2).
const WINDOW_BITS: u8 = 15;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn page(items: usize) -> Vec<u8> {
        (0..items).flat_map(|n| format!("<li>item {}</li>\n", n * n).into_bytes()).collect()
    }

    fn unpacked(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        match coding {
            Coding::Identity => plain.extend_from_slice(bytes),
            Coding::Zstd => plain = zstd::decode_all(bytes).unwrap(),
            Coding::Brotli => {
                ::brotli::Decompressor::new(bytes, 4096).read_to_end(&mut plain).unwrap();
            }
            Coding::Gzip => {
                flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
            }
        }
        plain
    }

    #[test]
    fn one_packer_packs_one_page_after_the_other() {
        for levels in [Levels::QUICK, Levels::SMALL] {
            let mut packer = Packer::new(levels);
            for items in [100, 30, 2000, 100] {
                let page = page(items);
                for coding in Coding::PACKED {
                    let mut out = b"before".to_vec();
                    assert!(packer.pack(coding, &page, &mut out), "{coding:?}");
                    let packed = out.strip_prefix(b"before").unwrap();
                    assert!(packed.len() < page.len());
                    assert_eq!(unpacked(coding, packed), page, "{coding:?}");
                    let mut out = [b"before", &page[..]].concat();
                    assert!(packer.pack_in_place(coding, &mut out, 6));
                    assert_eq!(out.strip_prefix(b"before").unwrap(), packed);
                }
            }
            assert!(packer.packed.capacity() <= COMPRESS_SCRATCH_BYTES_MAX);
        }
    }

    #[test]
    fn what_does_not_get_smaller_stays_as_it_is_and_the_next_is_packed() {
        let mut packer = Packer::new(Levels::QUICK);
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(5000)
        .collect();
        let long = vec![0; COMPRESS_BYTES_MAX + 1];
        for coding in Coding::PACKED {
            for bytes in [&noise[..], &long, b"", b"a"] {
                let mut out = [b"before", bytes].concat();
                assert!(!packer.pack_in_place(coding, &mut out, 6), "{coding:?}");
                assert_eq!(out.strip_prefix(b"before"), Some(bytes));
            }
            let mut out = page(100);
            assert!(packer.pack_in_place(coding, &mut out, 0));
            assert_eq!(unpacked(coding, &out), page(100));
        }
        assert!(!packer.pack(Coding::Identity, &page(100), &mut Vec::new()));
    }

    #[test]
    fn what_gets_smaller_is_known_by_its_type() {
        for text in [
            "text/html; charset=utf-8",
            "TEXT/css",
            "application/json",
            "application/atom+xml; charset=utf-8",
            "application/ld+json",
            "image/svg+xml",
            "text/javascript",
        ] {
            assert!(is_packable(text), "{text}");
        }
        for other in ["", "image/png", "application/octet-stream", "font/woff2", "video/mp4", "+"] {
            assert!(!is_packable(other), "{other}");
        }
    }
}
