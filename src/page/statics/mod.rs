//! Static files: what a visitor gets of a file, or of the lack of one.
//!
//! Small files come out of memory, whatever their folder's disk does; each is looked at again a
//! second later at the earliest. Larger ones are opened each time, and read while they are sent.
//! What touches the disk is done beside the loop.
//!
//! | file | is |
//! |---|---|
//! | `item` | a file, with those beside it that are the same, packed |
//! | `shelf` | those that are kept in memory |
//! | `answer` | head and body for one request |

mod answer;
mod item;
mod shelf;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use crate::driver::offload::{Entry, Offload};
use crate::driver::{Driver, is_resource_shortage};
use crate::error::{PageError, PageErrorKind};
use crate::http::{self, Coding, Method, Methods};
use crate::limits::{STATIC_CACHE_BYTES_MAX, STATIC_LOOK, STATIC_READ_TIMEOUT};
use crate::site::{Static, name_of, unhashed};

use super::packing::Packing;
use super::{Outcome, Pages, Request};
pub(super) use answer::Served;
use answer::{Choice, fields};
pub(super) use item::Packs;
use item::{Found, Item};
use shelf::Shelf;

/// The static files of a site, on one worker.
pub(super) struct Statics {
    shelf: RefCell<Shelf>,
    offload: Offload,
}

/// A file that is asked for.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Its place among pages and static files.
    place: usize,
    /// Its name, from the folder of its `[[static]]`.
    name: String,
    /// The path, normalized.
    path: String,
}

impl Statics {
    /// None yet, for a worker on this driver.
    pub(super) fn new<D: Driver>() -> Self {
        Self::beside(Offload::new::<D>())
    }

    /// None yet, with the threads of others.
    pub(super) fn going_on(old: &Self) -> Self {
        Self::beside(old.offload.clone())
    }

    /// What is known of a file, which may be asked for by a name with its content in it.
    fn kept(&self, place: usize, name: &str) -> Option<Rc<Item>> {
        let shelf = self.shelf.borrow();
        shelf.get((place, name)).or_else(|| {
            let (plain, hash) = unhashed(name)?;
            shelf.get((place, &plain)).filter(|item| item.hash == hash.as_bytes())
        })
    }

    fn beside(offload: Offload) -> Self {
        Self { shelf: RefCell::new(Shelf::new(STATIC_CACHE_BYTES_MAX)), offload }
    }
}

impl<D: Driver> Pages<D> {
    /// The static file of a path, or what to answer instead; says in `number` where it is found.
    pub(super) fn find_static(
        &self,
        method: Method,
        path: &str,
        number: &mut usize,
    ) -> Outcome<'static> {
        let nothing = || {
            let error = PageError::new(PageErrorKind::NoSuchPage, "no page has this path");
            Outcome::Failed(error)
        };
        let Some((place, found, rest)) = self.site().static_at(path) else { return nothing() };
        *number = place;
        match method {
            Method::Get | Method::Head => {}
            Method::Options => return Outcome::Methods(Methods::READ),
            _ => return Outcome::NotAllowed(Methods::READ),
        }
        match file_name(found, rest) {
            Some(name) => Outcome::Static(Box::new(Wanted { place, name, path: path.to_owned() })),
            None => nothing(),
        }
    }

    /// Whether a file may be opened to answer a request, for as long as that takes: not where it is
    /// known to be small enough to be kept.
    pub fn opens_file(&self, request: &Request<'_>) -> bool {
        let Some(statics) = &self.statics else { return false };
        if !matches!(request.method, Method::Get | Method::Head) {
            return false;
        }
        let Ok(path) = http::path::normalize(request.path) else { return false };
        let Ok(path) = std::str::from_utf8(&path) else { return false };
        if self.site().route(path).is_some() {
            return false;
        }
        let Some((place, found, rest)) = self.site().static_at(path) else { return false };
        let kept = file_name(found, rest).and_then(|name| statics.kept(place, &name));
        kept.is_none_or(|item| !item.is_in_memory())
    }

    /// Waits for a file, as far as there is anything to wait for.
    pub(super) async fn fetch_static(
        &self,
        wanted: &Wanted,
        request: &Request<'_>,
    ) -> Result<Served, PageError> {
        let place = wanted.place.checked_sub(self.site().pages().len());
        let found = place.and_then(|place| self.site().statics().get(place));
        let (Some(statics), Some(found)) = (&self.statics, found) else {
            return Ok(Served::Missing);
        };
        let mut timer = self.client().timers().timer();
        let work = self.serve_static(statics, found, wanted, request);
        match timer.until(D::now() + STATIC_READ_TIMEOUT, work).await {
            Ok(served) => served,
            Err(_) => Err(failure(io::ErrorKind::TimedOut.into())),
        }
    }

    async fn serve_static(
        &self,
        statics: &Statics,
        found: &Static,
        wanted: &Wanted,
        request: &Request<'_>,
    ) -> Result<Served, PageError> {
        let item = match self.item(statics, found, wanted).await? {
            Found::Item(item) => item,
            Found::Folder => return Ok(Served::Moved(slashed(&wanted.path, request))),
            Found::Nothing => return Ok(Served::Missing),
        };
        let coding = wanted_coding(&item, request);
        let Some(variant) = item.variant(coding) else { return Ok(Served::Missing) };
        let choice = Choice { item: &item, coding, fields: fields(&item, coding, found, wanted) };
        match &variant.bytes {
            Some(_) => Ok(choice.of_kept(variant, request)),
            None => {
                // What is asked for may have another answer than the file itself.
                if let Some(served) = choice.without_body(variant, request) {
                    return Ok(served);
                }
                let (root, name) = (found.root().clone(), item.name_of(coding));
                let opened = move || item::open(&root, &name);
                let opened = statics.offload.run(Entry::New, opened).await.map_err(failure)?;
                let Some((file, variant)) = opened.map_err(failure)? else {
                    return Ok(Served::Missing);
                };
                Ok(choice.of_file(file, &variant, request, &statics.offload))
            }
        }
    }

    /// A file as it is now, or was a moment ago.
    async fn item(
        &self,
        statics: &Statics,
        found: &Static,
        wanted: &Wanted,
    ) -> Result<Found, PageError> {
        let now = D::now();
        let key = (wanted.place, wanted.name.as_str());
        let kept = statics.kept(wanted.place, &wanted.name);
        if let Some(item) = &kept {
            let looked = item.looked.get();
            if now.saturating_duration_since(looked) < STATIC_LOOK {
                return Ok(Found::Item(Rc::clone(item)));
            }
            // Others who come while it is looked at have it as it was.
            item.looked.set(now);
        }
        let (root, name) = (found.root().clone(), wanted.name.clone());
        let known = kept.as_ref().map(|item| item.stamps());
        let packs = self.packing.as_deref().map(Packing::packs).unwrap_or_default();
        let look = move || item::look(&root, &name, known, packs);
        let looked = statics.offload.run(Entry::New, look).await.map_err(failure)?;
        Ok(match looked.map_err(failure)? {
            item::Looked::Same => kept.map_or(Found::Nothing, Found::Item),
            item::Looked::New(made) => {
                let item = Rc::new(Item::new(*made, now));
                statics.shelf.borrow_mut().put(wanted.place, &item);
                Found::Item(item)
            }
            item::Looked::Folder => Found::Folder,
            item::Looked::Nothing => {
                statics.shelf.borrow_mut().forget(key);
                Found::Nothing
            }
        })
    }
}

/// The coding of a file that a reader likes best, of those there are.
fn wanted_coding(item: &Item, request: &Request<'_>) -> Coding {
    if item.packed.is_empty() {
        return Coding::Identity;
    }
    let ours: smallvec::SmallVec<[Coding; 3]> =
        item.packed.iter().map(|(coding, _)| *coding).collect();
    Coding::best(request.values(b"accept-encoding"), &ours)
}

/// Where a folder is that was asked for without the slash at its end. No path of ours begins with
/// two slashes, which would lead to another host: such a name is none.
fn slashed(path: &str, request: &Request<'_>) -> Vec<u8> {
    let mut location = Vec::new();
    let mut moved = format!("{path}/").into_bytes();
    if !request.query.is_empty() {
        moved.push(b'?');
        moved.extend_from_slice(request.query);
    }
    // What cannot be in a field is in no target that was accepted.
    let _ = http::push_field(&mut location, "Location", &moved);
    location
}

/// The name of the file that a path is about, in what serves it.
fn file_name(found: &Static, rest: &str) -> Option<String> {
    match found.is_folder() {
        true => name_of(rest),
        false => Some(found.file().to_owned()),
    }
}

fn failure(error: io::Error) -> PageError {
    let (kind, message) = match error.kind() {
        io::ErrorKind::QuotaExceeded => {
            (PageErrorKind::Overload, "too many files are being opened")
        }
        io::ErrorKind::TimedOut => (PageErrorKind::Timeout, "a file took too long to be opened"),
        // It passes, as others end.
        _ if is_resource_shortage(&error) => (PageErrorKind::Overload, "too many files are open"),
        _ => (PageErrorKind::Internal, "a file cannot be read"),
    };
    PageError::new(kind, message).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn a_lack_of_descriptors_passes() {
        for errno in [Errno::MFILE, Errno::NFILE] {
            let failed = failure(io::Error::from(errno));
            assert_eq!(failed.kind(), PageErrorKind::Overload);
        }
        assert_eq!(failure(Errno::IO.into()).kind(), PageErrorKind::Internal);
    }
}
