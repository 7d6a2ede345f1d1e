//! A file as it was when it was looked at, with those beside it that are the same, packed. Looking
//! blocks, and is for other threads than a worker's.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::time::Instant;

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_128;

use crate::coding::{self, Levels, Packer};
use crate::driver::beneath::Stamp;
use crate::http::{Coding, EntityTag, Validators};
use crate::limits::{ASSET_HASHED_BYTES_MAX, STATIC_KEPT_BYTES_MAX};
use crate::site::{AssetHash, INDEX, Opened, Root, hash_of, hash_of_large, unhashed};

/// What a name stands for.
pub(super) enum Found {
    Item(Rc<Item>),
    /// A folder, which has an index.
    Folder,
    Nothing,
}

/// What looking came to.
pub(super) enum Looked {
    /// It is as it was.
    Same,
    /// It is new, or another.
    New(Box<Made>),
    Folder,
    Nothing,
}

/// A file, with those beside it.
pub(in crate::page) struct Item {
    /// Its name; another than what was asked for, where that had its content in it.
    pub(super) name: String,
    pub(super) hash: AssetHash,
    pub(super) plain: Variant,
    /// In the order in which we like them.
    pub(super) packed: Packed,
    pub(super) content_type: &'static str,
    /// When it was looked at last.
    pub(super) looked: Cell<Instant>,
}

type Packed = SmallVec<[(Coding, Variant); 1]>;

/// What it is made from, on another thread.
pub(super) struct Made {
    name: String,
    hash: AssetHash,
    plain: Variant,
    packed: Packed,
}

/// One file.
pub(super) struct Variant {
    pub(super) stamp: Stamp,
    pub(super) validators: Validators,
    /// What is in it, unless that is too much.
    pub(super) bytes: Option<Vec<u8>>,
    /// Whether we have packed it: there is no such file.
    is_made: bool,
}

/// How a file is packed that has nothing beside it that is.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::page) struct Packs {
    /// The codings, if any.
    pub(in crate::page) codings: [Option<Coding>; 3],
    /// Shorter ones stay as they are, bytes.
    pub(in crate::page) bytes_min: usize,
}

impl Packs {
    /// Adds what there is to add to a file that is kept in memory.
    fn add(self, name: &str, plain: &Variant, packed: &mut Packed) {
        let Some(bytes) = plain.bytes.as_ref().filter(|bytes| bytes.len() >= self.bytes_min) else {
            return;
        };
        if !coding::is_packable(content_type(name)) {
            return;
        }
        // Once, and seldom: it is not worth keeping the encoders.
        let mut packer = Packer::new(Levels::SMALL);
        for coding in self.codings.into_iter().flatten() {
            let mut smaller = Vec::new();
            if packed.iter().all(|(other, _)| *other != coding)
                && packer.pack(coding, bytes, &mut smaller)
            {
                smaller.shrink_to_fit();
                let stamp = Stamp { length: smaller.len() as u64, ..plain.stamp };
                let variant = Variant { is_made: true, ..Variant::new(stamp, Some(smaller)) };
                packed.push((coding, variant));
            }
        }
        packed.sort_by_key(|(coding, _)| Coding::PACKED.iter().position(|one| one == coding));
    }
}

/// The stamps of a file and of those beside it.
pub(super) type Stamps = [Option<Stamp>; 4];

impl Item {
    pub(super) fn new(made: Made, now: Instant) -> Self {
        let Made { name, hash, plain, packed } = made;
        let content_type = content_type(&name);
        Self { name, hash, plain, packed, content_type, looked: Cell::new(now) }
    }

    pub(super) fn variant(&self, coding: Coding) -> Option<&Variant> {
        match coding {
            Coding::Identity => Some(&self.plain),
            coding => self.packed.iter().find(|(c, _)| *c == coding).map(|(_, variant)| variant),
        }
    }

    /// Whether it is kept, in each of its codings.
    pub(super) fn is_in_memory(&self) -> bool {
        let packed = self.packed.iter().map(|(_, variant)| variant);
        packed.chain([&self.plain]).all(|variant| variant.bytes.is_some())
    }

    /// The name of the file in this coding.
    pub(super) fn name_of(&self, coding: Coding) -> String {
        beside(&self.name, coding)
    }

    pub(super) fn stamps(&self) -> Stamps {
        let mut stamps = [Some(self.plain.stamp), None, None, None];
        for (place, coding) in stamps.iter_mut().skip(1).zip(Coding::PACKED) {
            let variant = self.variant(coding).filter(|variant| !variant.is_made);
            *place = variant.map(|variant| variant.stamp);
        }
        stamps
    }

    /// What it takes in memory, bytes.
    pub(super) fn weight(&self) -> usize {
        let bytes = |variant: &Variant| variant.bytes.as_ref().map_or(0, Vec::len);
        let packed: usize = self.packed.iter().map(|(_, variant)| bytes(variant)).sum();
        bytes(&self.plain) + packed + self.name.len()
    }
}

impl Variant {
    fn new(stamp: Stamp, bytes: Option<Vec<u8>>) -> Self {
        let number = match &bytes {
            Some(bytes) => xxh3_128(bytes),
            // What of it changes whenever its content does.
            None => {
                let [a, b, c, d] = stamp.trace;
                let modified = stamp.modified.unwrap_or_default();
                xxh3_128(&[stamp.length, modified, a, b, c, d].map(u64::to_le_bytes).concat())
            }
        };
        let validators = Validators { etag: EntityTag::new(number), modified: stamp.modified };
        Self { stamp, validators, bytes, is_made: false }
    }
}

/// Looks at the file of this name. `known` is what it was when it was looked at before.
pub(super) fn look(
    root: &Root,
    name: &str,
    known: Option<Stamps>,
    packs: Packs,
) -> io::Result<Looked> {
    let (opened, name) = match root.open(name)? {
        Some(Opened::Folder) => {
            let index = root.open(&format!("{name}/{INDEX}"))?;
            let is_shown = matches!(index, Some(Opened::File(..) | Opened::Text(_)));
            return Ok(if is_shown { Looked::Folder } else { Looked::Nothing });
        }
        Some(opened) => (opened, name.to_owned()),
        // One of exactly this name goes before the one whose content may be in it.
        None => match unhashed(name) {
            Some((plain, _)) => match root.open(&plain)? {
                Some(Opened::Folder) | None => return Ok(Looked::Nothing),
                Some(opened) => (opened, plain),
            },
            None => return Ok(Looked::Nothing),
        },
    };
    let plain_stamp = stamp(&opened);
    let mut stamps = [Some(plain_stamp), None, None, None];
    let mut others = SmallVec::<[(Coding, Opened); 3]>::new();
    for (place, coding) in stamps.iter_mut().skip(1).zip(Coding::PACKED) {
        let Some(other) = root.open(&beside(&name, coding))? else { continue };
        let other_stamp = stamp(&other);
        // One that is older than what it should be the same as is not the same any more.
        if !matches!(other, Opened::Folder) && other_stamp.modified >= plain_stamp.modified {
            *place = Some(other_stamp);
            others.push((coding, other));
        }
    }
    if known == Some(stamps) {
        return Ok(Looked::Same);
    }
    let hash = match &opened {
        Opened::File(file, stamp) if stamp.length > STATIC_KEPT_BYTES_MAX => {
            hash_of_file(file, stamp)?
        }
        _ => AssetHash::default(),
    };
    let plain = read(opened)?;
    let hash = plain.bytes.as_ref().map_or(hash, |bytes| hash_of(bytes));
    let packed = others.into_iter().map(|(coding, other)| Ok((coding, read(other)?)));
    let mut packed = packed.collect::<io::Result<Packed>>()?;
    packs.add(&name, &plain, &mut packed);
    Ok(Looked::New(Box::new(Made { name, hash, plain, packed })))
}

/// Opens one file to be read in pieces.
pub(super) fn open(root: &Root, name: &str) -> io::Result<Option<(File, Variant)>> {
    Ok(match root.open(name)? {
        Some(Opened::File(file, stamp)) => Some((file, Variant::new(stamp, None))),
        _ => None,
    })
}

fn stamp(opened: &Opened) -> Stamp {
    match opened {
        Opened::File(_, stamp) => *stamp,
        Opened::Text(text) => Stamp { length: text.len() as u64, ..Stamp::default() },
        Opened::Folder => Stamp::default(),
    }
}

fn read(opened: Opened) -> io::Result<Variant> {
    match opened {
        Opened::Text(text) => {
            let stamp = Stamp { length: text.len() as u64, ..Stamp::default() };
            Ok(Variant::new(stamp, Some(text.as_bytes().to_vec())))
        }
        Opened::File(file, stamp) if stamp.length <= STATIC_KEPT_BYTES_MAX => {
            let mut bytes = vec![0; usize::try_from(stamp.length).unwrap_or_default()];
            file.read_exact_at(&mut bytes, 0)?;
            Ok(Variant::new(stamp, Some(bytes)))
        }
        Opened::File(_, stamp) => Ok(Variant::new(stamp, None)),
        Opened::Folder => Err(io::ErrorKind::IsADirectory.into()),
    }
}

/// The digits that `asset()` gives a file that is not kept in memory.
fn hash_of_file(file: &File, stamp: &Stamp) -> io::Result<AssetHash> {
    if stamp.length > ASSET_HASHED_BYTES_MAX {
        return Ok(hash_of_large(stamp));
    }
    let mut bytes = vec![0; usize::try_from(stamp.length).unwrap_or_default()];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(hash_of(&bytes))
}

/// The name of what is the same as a file, packed.
fn beside(name: &str, coding: Coding) -> String {
    let end = match coding {
        Coding::Identity => return name.to_owned(),
        Coding::Gzip => "gz",
        Coding::Brotli => "br",
        Coding::Zstd => "zst",
    };
    format!("{name}.{end}")
}

/// The media type of a file, by its name. Text is UTF-8.
fn content_type(name: &str) -> &'static str {
    let guessed = mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream");
    let with_charset = TEXTS.iter().find(|text| text.split(';').next() == Some(guessed));
    with_charset.copied().unwrap_or(guessed)
}

const TEXTS: &[&str] = &[
    "text/html; charset=utf-8",
    "text/css; charset=utf-8",
    "text/javascript; charset=utf-8",
    "application/javascript; charset=utf-8",
    "text/plain; charset=utf-8",
    "text/markdown; charset=utf-8",
    "text/csv; charset=utf-8",
    "text/calendar; charset=utf-8",
    "text/vcard; charset=utf-8",
    "text/vtt; charset=utf-8",
    "text/xml; charset=utf-8",
    "text/tab-separated-values; charset=utf-8",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_utf_8_and_what_nobody_knows_is_bytes() {
        for (name, wanted) in [
            ("a.css", "text/css; charset=utf-8"),
            ("a.HTML", "text/html; charset=utf-8"),
            ("a.js", "text/javascript; charset=utf-8"),
            ("robots.txt", "text/plain; charset=utf-8"),
            ("a.svg", "image/svg+xml"),
            ("a.woff2", "font/woff2"),
            ("a.png", "image/png"),
            ("a.wasm", "application/wasm"),
            ("LICENSE", "application/octet-stream"),
        ] {
            assert_eq!(content_type(name), wanted, "{name}");
        }
    }
}
