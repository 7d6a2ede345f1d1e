//! Pages as their readers take them over the wire: packed, where they ask for that.
//!
//! It is done within the time of the page, right after it is made. Under overload only what was
//! packed before goes out packed: then CPU time is what there is too little of, and not bandwidth.

use std::cell::RefCell;
use std::time::Duration;

use crate::coding::{Levels, Packer};
use crate::config::{Compress, PackedCoding};
use crate::driver::{Driver, stints};
use crate::http::{Coding, EntityTag};
use crate::limits::COMPRESS_BYTES_MAX;
use crate::metrics::WorkerMetrics;
use crate::site::Page;

use super::memo::Made;
use super::statics::Packs;
use super::{Answer, Pages, Request};

/// How a worker packs pages.
pub(super) struct Packing {
    /// The codings there are, the one that we like best first.
    codings: Vec<Coding>,
    bytes_min: usize,
    packer: RefCell<Packer>,
}

impl Packing {
    /// As the site says; none where nothing is packed.
    pub(super) fn new(compress: &Compress) -> Option<Self> {
        let codings: Vec<Coding> = compress.codings.iter().copied().map(coding).collect();
        let bytes_min = usize::try_from(compress.min_size).unwrap_or(usize::MAX);
        let packer = RefCell::new(Packer::new(Levels::QUICK));
        (!codings.is_empty()).then_some(Self { codings, bytes_min, packer })
    }

    /// How files are packed, once for as long as they are kept.
    pub(super) fn packs(&self) -> Packs {
        let mut codings = [None; 3];
        for (place, coding) in codings.iter_mut().zip(&self.codings) {
            *place = Some(*coding);
        }
        Packs { codings, bytes_min: self.bytes_min }
    }

    /// The coding that a reader likes best of those there are.
    fn best(&self, request: &Request<'_>) -> Coding {
        Coding::best(request.values(b"accept-encoding"), &self.codings)
    }
}

fn coding(written: PackedCoding) -> Coding {
    match written {
        PackedCoding::Zstd => Coding::Zstd,
        PackedCoding::Brotli => Coding::Brotli,
        PackedCoding::Gzip => Coding::Gzip,
    }
}

impl<D: Driver> Pages<D> {
    /// The answer that a page is, before it is known whether it will be packed.
    pub(super) fn unpacked(&self, page: &Page) -> Answer {
        let varies = self.packing.is_some() && page.packs();
        let (content_type, is_personal) = (page.content_type(), page.is_personal());
        Answer { content_type, varies, is_personal, ..Answer::default() }
    }

    /// Of the tags that a page may have for this reader, the one that its conditions are about:
    /// that of the packed page if they name it, and else that of the page as it is. Each is one
    /// that we may send, whatever the load is now.
    pub(super) fn chosen(&self, request: &Request<'_>, plain: EntityTag) -> EntityTag {
        let Some(packing) = &self.packing else { return plain };
        let names = |tag: EntityTag| {
            request.values(b"if-none-match").any(|value| tag.is_among(value))
                || request.values(b"if-match").any(|value| tag.is_among(value))
        };
        let any_packed = packing.codings.iter().any(|coding| names(plain.coded(*coding)));
        if !any_packed {
            return plain;
        }
        // One for another coding is of no use: a cache would hand it to a reader of this one.
        let coded = plain.coded(packing.best(request));
        if names(coded) { coded } else { plain }
    }

    /// Packs `out[from..]`, the body of an answer, if that is worth it and wanted.
    pub(super) fn pack(
        &self,
        request: &Request<'_>,
        answer: &mut Answer,
        out: &mut Vec<u8>,
        from: usize,
    ) {
        let length = out.len().saturating_sub(from);
        let Some(packing) = self.packing.as_ref().filter(|_| answer.varies) else { return };
        let is_fit = (packing.bytes_min..=COMPRESS_BYTES_MAX).contains(&length);
        if !is_fit || answer.status == 206 || must_stay(&answer.passed) {
            return;
        }
        let coding = packing.best(request);
        if coding == Coding::Identity || (answer.is_personal && is_lured(request)) {
            return;
        }
        let kept = answer.kept.take();
        let kept = kept.as_ref().map(|kept| &kept.0);
        if let Some(packed) = kept.and_then(|made| made.packed(coding)) {
            out.truncate(from);
            out.extend_from_slice(packed);
        } else if stints::is_crowded() || !self.pack_anew(packing, coding, out, from) {
            return;
        } else if let Some(made) = kept {
            self.memo.keep_packed(made, coding, out.get(from..).unwrap_or_default());
        }
        answer.coding = coding;
        answer.etag = answer.etag.map(|etag| etag.coded(coding));
        let packed = out.len().saturating_sub(from);
        count(self.client.metrics(), coding, length as u64, packed as u64);
    }

    fn pack_anew(&self, packing: &Packing, coding: Coding, out: &mut Vec<u8>, from: usize) -> bool {
        let start = D::now_exactly();
        let is_packed = packing.packer.borrow_mut().pack_in_place(coding, out, from);
        let took = D::now_exactly().saturating_duration_since(start);
        count_time(self.client.metrics(), coding, took);
        is_packed
    }
}

/// Whether fields that go along say that the body must be left as it is, or is packed already.
fn must_stay(lines: &[u8]) -> bool {
    lines.split(|byte| *byte == b'\n').any(|line| {
        let (name, value) = line.split_at(memchr::memchr(b':', line).unwrap_or(line.len()));
        let mut directives = value.get(1..).unwrap_or_default().split(|byte| *byte == b',');
        name.eq_ignore_ascii_case(b"content-encoding")
            || name.eq_ignore_ascii_case(b"cache-control")
                && directives.any(|one| one.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
    })
}

/// Whether the browser of one who is known here may have been sent by another site. Such requests
/// are what secrets are guessed with from the lengths of packed pages (BREACH): the other site
/// says what is asked for, and the page holds what is the visitor's.
fn is_lured(request: &Request<'_>) -> bool {
    let is_known = request.values(b"cookie").chain(request.values(b"authorization")).next();
    let is_foreign = |site: &[u8]| {
        !site.eq_ignore_ascii_case(b"same-origin") && !site.eq_ignore_ascii_case(b"none")
    };
    is_known.is_some() && request.values(b"sec-fetch-site").any(is_foreign)
}

fn count(metrics: &WorkerMetrics, coding: Coding, plain: u64, packed: u64) {
    let (pages, before, after) = match coding {
        Coding::Identity => return,
        Coding::Zstd => {
            (&metrics.packed_zstd, &metrics.packed_zstd_before, &metrics.packed_zstd_after)
        }
        Coding::Brotli => {
            (&metrics.packed_brotli, &metrics.packed_brotli_before, &metrics.packed_brotli_after)
        }
        Coding::Gzip => {
            (&metrics.packed_gzip, &metrics.packed_gzip_before, &metrics.packed_gzip_after)
        }
    };
    pages.add(1);
    before.add(plain);
    after.add(packed);
}

fn count_time(metrics: &WorkerMetrics, coding: Coding, took: Duration) {
    let time = match coding {
        Coding::Identity => return,
        Coding::Zstd => &metrics.packed_zstd_us,
        Coding::Brotli => &metrics.packed_brotli_us,
        Coding::Gzip => &metrics.packed_gzip_us,
    };
    // To the nearest: most pages take a few.
    time.add(u64::try_from((took.as_nanos() + 500) / 1000).unwrap_or(u64::MAX));
}

/// A page in the memo that the packed one belongs to.
#[derive(Clone)]
pub(super) struct Kept(pub(super) std::rc::Rc<Made>);

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kept")
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        std::rc::Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Kept {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_so_stays_as_it_is() {
        for lines in [
            "Cache-Control: max-age=1, No-Transform\r\n",
            "X: y\r\ncache-control:no-transform\r\n",
            "Content-Encoding: br\r\n",
        ] {
            assert!(must_stay(lines.as_bytes()), "{lines}");
        }
        for lines in ["", "Cache-Control: no-store\r\nX: no-transform\r\n", "\r\n", ":"] {
            assert!(!must_stay(lines.as_bytes()), "{lines}");
        }
    }
}
