//! Head and body of a file, for one request.

use std::fs::File;
use std::rc::Rc;

use crate::driver::Driver;
use crate::driver::file_body::FileBody;
use crate::driver::offload::Offload;
use crate::error::{PageError, PageErrorKind};
use crate::http::{self, Coding, Part, Verdict};
use crate::page::notes::Notes;
use crate::page::request::unix_seconds;
use crate::page::{Answer, Pages, Request};
use crate::site::{Static, unhashed};

use super::Wanted;
use super::item::{Item, Variant};

/// What a visitor gets.
pub(in crate::page) enum Served {
    /// There is nothing of this name.
    Missing,
    /// It is a folder, and elsewhere: a line with its Location.
    Moved(Vec<u8>),
    /// It is not what the visitor wants to have.
    Unwanted,
    /// It ends before the range begins: a line with its Content-Range.
    Unsatisfiable(Vec<u8>),
    /// A file, or that the visitor has it.
    Ready(Answer, Content),
}

/// The body of an answer, beside what the answer itself has.
pub(in crate::page) enum Content {
    /// None, or it is streamed.
    Elsewhere,
    /// Some of what is kept, in this coding.
    Kept(Rc<Item>, Coding, std::ops::Range<usize>),
}

/// A file in the coding that is wanted, with the field lines that all answers with it have.
pub(super) struct Choice<'a> {
    pub(super) item: &'a Rc<Item>,
    pub(super) coding: Coding,
    pub(super) fields: Vec<u8>,
}

/// The field lines that go with a file, whichever part of it is sent.
pub(super) fn fields(item: &Item, coding: Coding, of: &Static, wanted: &Wanted) -> Vec<u8> {
    let mut lines = Vec::with_capacity(FIELDS_BYTES_USUAL);
    let mut push = |name: &str, value: &[u8]| {
        let pushed = http::push_field(&mut lines, name, value);
        debug_assert!(pushed.is_ok(), "{name}");
    };
    let hash = unhashed(&wanted.name).filter(|(plain, _)| *plain == item.name);
    let kept = match hash {
        // What it was then: whoever has the new name has the new one.
        Some((_, hash)) if hash.as_bytes() == item.hash => IMMUTABLE,
        Some(_) => CHECKED,
        None => of.cache_control().unwrap_or(CHECKED),
    };
    push("Cache-Control", kept.as_bytes());
    if !item.packed.is_empty() {
        push("Vary", b"Accept-Encoding");
    }
    if coding != Coding::Identity {
        push("Content-Encoding", coding.name().as_bytes());
    }
    // HTML has it with the other fields that all HTML has.
    if !item.content_type.starts_with("text/html") {
        push("X-Content-Type-Options", b"nosniff");
    }
    lines
}

impl Choice<'_> {
    /// What of a file that is in memory is sent.
    pub(super) fn of_kept(mut self, variant: &Variant, request: &Request<'_>) -> Served {
        if let Some(served) = self.without_body(variant, request) {
            return served;
        }
        let (answer, from, length) = self.head(variant, request);
        let range = usize::try_from(from).ok().zip(usize::try_from(from + length).ok());
        let range = range.map_or(0..0, |(from, to)| from..to);
        Served::Ready(answer, Content::Kept(Rc::clone(self.item), self.coding, range))
    }

    /// What of a file that has just been opened is sent.
    pub(super) fn of_file(
        mut self,
        file: File,
        variant: &Variant,
        request: &Request<'_>,
        offload: &Offload,
    ) -> Served {
        if let Some(served) = self.without_body(variant, request) {
            return served;
        }
        let (answer, from, length) = self.head(variant, request);
        let body = FileBody::new(file, from, length, offload.clone());
        Served::Ready(Answer { file: Some(Box::new(body)), ..answer }, Content::Elsewhere)
    }

    /// The answer where that is not the file: what there is to know of it is enough.
    pub(super) fn without_body(&self, variant: &Variant, request: &Request<'_>) -> Option<Served> {
        let headers = request.headers?;
        match variant.validators.verdict(headers, request.bytes) {
            Verdict::Failed => return Some(Served::Unwanted),
            Verdict::NotModified => {
                let (etag, passed) = (Some(variant.validators.etag), self.fields.clone());
                let content_type = self.item.content_type;
                let answer = Answer { content_type, etag, passed, ..Answer::default() };
                return Some(Served::Ready(answer.not_modified(), Content::Elsewhere));
            }
            Verdict::Proceed => {}
        }
        if self.part(variant, request) != Part::Unsatisfiable {
            return None;
        }
        let mut line = Vec::new();
        let range = format!("bytes */{}", variant.stamp.length);
        let _ = http::push_field(&mut line, "Content-Range", range.as_bytes());
        Some(Served::Unsatisfiable(line))
    }

    fn part(&self, variant: &Variant, request: &Request<'_>) -> Part {
        let is_get = request.method == http::Method::Get;
        let Some(headers) = request.headers.filter(|_| is_get) else { return Part::Whole };
        let now = u64::try_from(unix_seconds()).unwrap_or_default();
        variant.validators.part(headers, request.bytes, variant.stamp.length, now)
    }

    /// The head of an answer with a body, where that begins, and its length.
    fn head(&mut self, variant: &Variant, request: &Request<'_>) -> (Answer, u64, u64) {
        let mut passed = std::mem::take(&mut self.fields);
        let length = variant.stamp.length;
        let _ = http::push_field(&mut passed, "Accept-Ranges", b"bytes");
        if let Some(modified) = variant.validators.modified {
            let date = http::format_date(modified.min(DATE_MAX));
            let _ = http::push_field(&mut passed, "Last-Modified", &date);
        }
        let (status, from, sent) = match self.part(variant, request) {
            Part::Range(first, last) => {
                let range = format!("bytes {first}-{last}/{length}");
                let _ = http::push_field(&mut passed, "Content-Range", range.as_bytes());
                (206, first, last - first + 1)
            }
            _ => (200, 0, length),
        };
        let etag = Some(variant.validators.etag);
        let content_type = self.item.content_type;
        let answer = Answer { status, content_type, etag, passed, ..Answer::default() };
        (answer, from, sent)
    }
}

impl<D: Driver> Pages<D> {
    /// Appends what of a file is in memory to `out`, or an error page, and says the rest.
    pub(in crate::page) fn press_static(
        &self,
        request: &Request<'_>,
        served: Served,
        out: &mut Vec<u8>,
        notes: Option<&Notes>,
    ) -> Answer {
        let path = || String::from_utf8_lossy(request.path);
        match served {
            Served::Ready(answer, content) => {
                if let Content::Kept(item, coding, range) = content {
                    let bytes = item.variant(coding).and_then(|variant| variant.bytes.as_ref());
                    let bytes = bytes.and_then(|bytes| bytes.get(range));
                    out.extend_from_slice(bytes.unwrap_or_default());
                }
                Answer { is_file: true, ..answer }
            }
            Served::Missing => {
                let error = PageError::new(PageErrorKind::NoSuchPage, "there is no such file");
                self.fail(request, &error, out, notes)
            }
            Served::Moved(location) => {
                Answer { status: 301, passed: location, ..Answer::default() }
            }
            Served::Unwanted => {
                let message = "This file is not (any more) what was asked for.";
                self.error_page(412, message, &path(), "", None, out)
            }
            Served::Unsatisfiable(range) => {
                let message = "The file ends before what was asked for of it.";
                let answer = self.error_page(416, message, &path(), "", None, out);
                Answer { passed: range, ..answer }
            }
        }
    }
}

/// For what has its content in its name.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// For all else, where the site does not say: kept, and asked for each time.
const CHECKED: &str = "no-cache";
/// Room for the usual fields, bytes.
const FIELDS_BYTES_USUAL: usize = 192;
/// The last second of the year 9999, the last that a date in HTTP can say.
const DATE_MAX: u64 = 253_402_300_799;
