//! Names of files with what is in them: `style.css` as `style.1a2b3c4d5e.css`; and which files of a
//! site `asset()` can name.

use super::statics::{Opened, Root, Static};
use crate::driver::beneath::Stamp;
use crate::limits::{ASSET_HASHED_BYTES_MAX, ASSETS_MAX, SITE_FOLDER_DEPTH_MAX};
use crate::press::Assets;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::io::Read;
use std::path::Path;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// The digits that stand for a content.
pub type AssetHash = [u8; DIGITS];

/// Those of a content that is in memory.
pub fn hash_of(content: &[u8]) -> AssetHash {
    digits(xxh3_64(content))
}

/// Those of a file that is too large to be read for it.
pub fn hash_of_large(stamp: &Stamp) -> AssetHash {
    let parts = [stamp.length, stamp.modified.unwrap_or_default()];
    digits(xxh3_64(&parts.map(u64::to_le_bytes).concat()))
}

/// The name of a file that a hashed one stands for, and its digits, if it is one.
pub fn unhashed(name: &str) -> Option<(String, &str)> {
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    let (folder, file) = name.split_at_checked(start)?;
    let (rest, last) = file.rsplit_once('.')?;
    if is_hash(last) {
        return Some((format!("{folder}{rest}"), last)).filter(|_| !rest.is_empty());
    }
    let (stem, hash) =
        rest.rsplit_once('.').filter(|(stem, hash)| !stem.is_empty() && is_hash(hash))?;
    Some((format!("{folder}{stem}.{last}"), hash))
}

/// The name of a file with these digits in it.
fn hashed(name: &str, hash: AssetHash) -> String {
    let hash = String::from_utf8_lossy(&hash).into_owned();
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    match name.get(start..).and_then(|file| file.rsplit_once('.')) {
        Some((stem, last)) if !stem.is_empty() => {
            let folder = name.get(..start).unwrap_or_default();
            format!("{folder}{stem}.{hash}.{last}")
        }
        _ => format!("{name}.{hash}"),
    }
}

/// All that `asset()` can name.
///
/// # Errors
/// In words, when it is too much.
pub(super) fn gather<'a>(statics: impl Iterator<Item = &'a Static>) -> Result<Assets, String> {
    let mut assets = Assets::default();
    for one in statics {
        match (one.is_folder(), one.root()) {
            (false, _) => assets.add(one.file().to_owned(), one.prefix().to_owned()),
            (true, Root::Disk(folder)) => walk(one, folder, &mut assets)?,
            (true, Root::Embedded(files, folder)) => {
                for (name, text) in *files {
                    if let Some(name) =
                        name.strip_prefix(&**folder).and_then(|n| n.strip_prefix('/'))
                    {
                        add(&mut assets, one, name, hash_of(text.as_bytes()));
                    }
                }
            }
        }
    }
    Ok(assets)
}

fn walk(one: &Static, folder: &Path, assets: &mut Assets) -> Result<(), String> {
    let mut open = vec![(folder.to_owned(), String::new(), 0)];
    let mut entries = 0;
    while let Some((folder, prefix, depth)) = open.pop() {
        let Ok(listed) = std::fs::read_dir(&folder) else { continue };
        for entry in listed.flatten() {
            entries += 1;
            if entries > ASSETS_MAX || assets.len() > ASSETS_MAX {
                return Err(format!(
                    "`asset()` cannot be used where [[static]] has more than {ASSETS_MAX} files"
                ));
            }
            let Ok(name) = entry.file_name().into_string() else { continue };
            let shown = format!("{prefix}{name}");
            if !super::statics::is_served(&name, prefix.is_empty()) {
                continue;
            }
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                if depth < SITE_FOLDER_DEPTH_MAX {
                    open.push((entry.path(), format!("{shown}/"), depth + 1));
                }
            } else if let Some(hash) = look(one.root(), &shown) {
                add(assets, one, &shown, hash);
            }
        }
    }
    Ok(())
}

/// The digits of a file as it is now.
fn look(root: &Root, name: &str) -> Option<AssetHash> {
    let Ok(Some(Opened::File(mut file, stamp))) = root.open(name) else { return None };
    if stamp.length > ASSET_HASHED_BYTES_MAX {
        return Some(hash_of_large(&stamp));
    }
    let mut hasher = Xxh3::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut left = ASSET_HASHED_BYTES_MAX;
    loop {
        let read = file.read(&mut piece).ok()?;
        if read == 0 {
            return Some(digits(hasher.digest()));
        }
        hasher.update(piece.get(..read)?);
        left = left.checked_sub(read as u64)?;
    }
}

fn add(assets: &mut Assets, one: &Static, name: &str, hash: AssetHash) {
    let path = utf8_percent_encode(&hashed(name, hash), PLAIN).to_string();
    assets.add(name.to_owned(), format!("{}{path}", one.prefix()));
}

fn digits(hash: u64) -> AssetHash {
    let mut digits = [b'0'; DIGITS];
    for (at, digit) in digits.iter_mut().enumerate() {
        let value = (hash >> (4 * at)) & 15;
        *digit = HEX.get(value as usize).copied().unwrap_or(b'0');
    }
    digits
}

fn is_hash(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|byte| HEX.contains(&byte))
}

const DIGITS: usize = 10;
const HEX: &[u8; 16] = b"0123456789abcdef";
const PIECE_BYTES: usize = 64 * 1024;
/// What need not be encoded in a path, and nothing that HTML would escape.
const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_its_content_in_it_and_back() {
        let hash = hash_of(b"body {}");
        let shown = std::str::from_utf8(&hash).unwrap();
        for (name, wanted) in [
            ("style.css", format!("style.{shown}.css")),
            ("js/app.min.js", format!("js/app.min.{shown}.js")),
            ("LICENSE", format!("LICENSE.{shown}")),
            ("a.b/LICENSE", format!("a.b/LICENSE.{shown}")),
        ] {
            assert_eq!(hashed(name, hash), wanted);
            assert_eq!(unhashed(&wanted), Some((name.to_owned(), shown)));
        }
        for name in
            ["style.css", "a.0123456789/b", "x.012345678g.css", ".0123456789", "a.01234567890"]
        {
            assert_eq!(unhashed(name), None, "{name}");
        }
    }
}
