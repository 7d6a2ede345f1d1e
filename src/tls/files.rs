//! Certificates and keys in files: what they hold, what is wrong with them, and whether they have
//! changed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::pki_types::{CertificateDer, ServerName};

use super::pem;
use super::server::Certificate;
use super::validity::validity;
use crate::limits::{TLS_EXPIRY_WARNING, TLS_FILE_BYTES_MAX};

/// Where one certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate, and behind it those that vouch for it.
    pub certificate: PathBuf,
    /// Its key; the same file where that holds both.
    pub key: PathBuf,
    /// The names to use it for; those in it where there are none.
    pub names: Vec<String>,
    /// Whether ringpress gets it itself, and renews it: then there is none until the file is there.
    pub may_be_missing: bool,
}

/// A certificate that was read, with what there is to say about it.
#[derive(Debug)]
pub struct Loaded {
    /// The certificate.
    pub certificate: Certificate,
    /// From when and until when it is valid, if that could be read.
    pub valid: Option<(SystemTime, SystemTime)>,
    /// What does not keep it from being used, but for its time.
    warnings: Vec<Trouble>,
    /// Whether its end is somebody else's care until it has come.
    is_renewed: bool,
}

impl Loaded {
    /// What does not keep it from being used, and should be known.
    pub fn warnings(&self, now: SystemTime) -> Vec<Trouble> {
        let is_due = |until| !self.is_renewed || now > until;
        let valid = self.valid.filter(|(_, until)| is_due(*until));
        let about_time = valid.and_then(|(from, until)| about_time(from, until, now));
        about_time.into_iter().chain(self.warnings.iter().cloned()).collect()
    }
}

/// Something that is wrong with a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What it is about.
    pub part: Part,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// What trouble is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The file with the certificate.
    Certificate,
    /// The one with the key.
    Key,
    /// One of the names that were given, by its place.
    Name(usize),
}

/// What a file looked like: another stamp says that it is another, or was written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp(Option<[i64; 6]>);

impl Files {
    /// Reads them. None where they may be missing, and are.
    ///
    /// # Errors
    /// Why there is no certificate to use.
    pub fn load(&self) -> Result<Option<Loaded>, Trouble> {
        let trouble = |part, (message, remedy): Words| Trouble { part, message, remedy };
        if self.may_be_missing && !self.certificate.exists() {
            return Ok(None);
        }
        let bytes = read(&self.certificate, "certificate");
        let bytes = bytes.map_err(|words| trouble(Part::Certificate, words))?;
        let chain = pem::certificates(&bytes).map_err(|why| {
            let remedy = "it must be PEM: the certificate first, then those that vouch for it";
            trouble(Part::Certificate, (format!("the file {why}"), remedy.to_owned()))
        })?;
        let key = read(&self.key, "key").map_err(|words| trouble(Part::Key, words))?;
        let key = pem::private_key(&key).map_err(|why| {
            let remedy = "write where the key of the certificate is, as in key = \"example.key\"";
            trouble(Part::Key, (format!("the file {why}"), remedy.to_owned()))
        })?;
        let first = chain.first().cloned();
        let certificate = Certificate::new((chain, key), self.names.clone()).map_err(|why| {
            let remedy = "the first certificate in its file must be the one made for this key";
            trouble(Part::Key, (why, remedy.to_owned()))
        })?;
        let valid = first.as_ref().and_then(|certificate| validity(certificate));
        let mut warnings = Vec::new();
        warnings.extend(first.as_ref().into_iter().flat_map(|der| self.about_names(der)));
        warnings.extend(self.about_key());
        if certificate.names().is_empty() {
            let message = "the certificate has no name (subjectAltName): browsers refuse it";
            let remedy = "have it made with the names of the site".to_owned();
            warnings.push(trouble(Part::Certificate, (message.to_owned(), remedy)));
        }
        let is_renewed = self.may_be_missing;
        Ok(Some(Loaded { certificate, valid, warnings, is_renewed }))
    }

    /// What the files look like now.
    pub fn stamps(&self) -> [Stamp; 2] {
        [Stamp::of(&self.certificate), Stamp::of(&self.key)]
    }

    /// Names that were given, and that it is not for.
    fn about_names(&self, certificate: &CertificateDer<'_>) -> Vec<Trouble> {
        let Ok(parsed) = webpki::EndEntityCert::try_from(certificate) else { return Vec::new() };
        let is_for = |name: &str| {
            // Any name of the domain tells whether it is for all of them.
            let name =
                name.strip_prefix("*.").map_or_else(|| name.to_owned(), |d| format!("x.{d}"));
            let name = ServerName::try_from(name);
            name.is_ok_and(|name| parsed.verify_is_valid_for_subject_name(&name).is_ok())
        };
        let wrong = self.names.iter().enumerate().filter(|(_, name)| !is_for(name));
        let own: Vec<&str> = parsed.valid_dns_names().collect();
        wrong
            .map(|(place, name)| Trouble {
                part: Part::Name(place),
                message: format!("the certificate is not for `{name}`: browsers refuse it"),
                remedy: format!("it is for {}", own.join(", ")),
            })
            .collect()
    }

    /// A key that everybody on this machine can read.
    fn about_key(&self) -> Option<Trouble> {
        let mode = fs::metadata(&self.key).ok()?.mode();
        (mode & 0o006 != 0).then(|| Trouble {
            part: Part::Key,
            message: format!("everybody on this machine may use {}", self.key.display()),
            remedy: format!("chmod o-rwx {}", self.key.display()),
        })
    }
}

impl Stamp {
    fn of(path: &Path) -> Self {
        let stamp = |m: fs::Metadata| {
            let (inode, size) = (m.ino().cast_signed(), m.len().cast_signed());
            // The time of the last change tells of new permissions, too.
            [inode, size, m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec()]
        };
        Self(fs::metadata(path).ok().map(stamp))
    }
}

/// What there is to say about when a certificate is valid.
fn about_time(from: SystemTime, until: SystemTime, now: SystemTime) -> Option<Trouble> {
    let (message, remedy) = if now > until {
        let message =
            format!("the certificate has expired, {}: browsers refuse it", date_of(until));
        (message, "have it renewed")
    } else if now < from {
        let message = format!("the certificate is not valid before {}", date_of(from));
        (message, "wait until then, or set the clock of this machine")
    } else if now + TLS_EXPIRY_WARNING > until {
        (format!("the certificate expires soon, {}", date_of(until)), "have it renewed")
    } else {
        return None;
    };
    Some(Trouble { part: Part::Certificate, message, remedy: remedy.to_owned() })
}

/// A date for people.
pub fn date_of(time: SystemTime) -> String {
    // httpdate panics on years that do not have four digits.
    let year_9999 = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(253_402_300_799);
    match time {
        time if time < SystemTime::UNIX_EPOCH => "before 1970".to_owned(),
        time => httpdate::fmt_http_date(time.min(year_9999)),
    }
}

/// What is wrong, and what to do.
type Words = (String, String);

/// The bytes of a file that holds `what`.
fn read(path: &Path, what: &str) -> Result<Vec<u8>, Words> {
    let mut bytes = Vec::new();
    let file = File::open(path);
    let read = file.and_then(|file| file.take(TLS_FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => "write its path relative to the site file, or absolute",
            io::ErrorKind::PermissionDenied => {
                "let the user that runs ringpress read it, by a group: chgrp, and chmod g+r"
            }
            _ => "it must be a file that can be read",
        };
        return Err((format!("the {what} cannot be read: {error}"), remedy.to_owned()));
    }
    if bytes.len() as u64 > TLS_FILE_BYTES_MAX {
        let message = format!("the {what} is over {TLS_FILE_BYTES_MAX} bytes");
        return Err((message, "name the right file".to_owned()));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    /// A certificate and its key, as PEM.
    fn made(set: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        set(&mut params);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    struct Case {
        folder: tempfile::TempDir,
        files: Files,
    }

    impl Case {
        fn new(certificate: &str, key: &str, names: &[&str]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let place = |name, text| {
                let path = folder.path().join(name);
                fs::write(&path, text).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
                path
            };
            let (certificate, key) = (place("a.pem", certificate), place("a.key", key));
            let names = names.iter().map(|&name| name.to_owned()).collect();
            let files = Files { certificate, key, names, may_be_missing: false };
            Self { folder, files }
        }

        fn warnings(&self) -> Vec<String> {
            let loaded = self.files.load().unwrap().unwrap();
            let warnings = loaded.warnings(SystemTime::now());
            warnings.into_iter().map(|trouble| trouble.message).collect()
        }
    }

    #[test]
    fn one_that_is_fine_may_be_in_one_file_with_its_key() {
        let (certificate, key) = made(|_| ());
        let mut case = Case::new(&format!("{certificate}{key}"), "", &[]);
        case.files.key.clone_from(&case.files.certificate);
        assert_eq!(case.warnings(), [""; 0]);
        let loaded = case.files.load().unwrap().unwrap();
        assert_eq!(loaded.certificate.names(), ["a.example"]);
        let names = ["a.example", "A.example"];
        let case = Case::new(&certificate, &key, &names);
        assert_eq!(case.warnings(), [""; 0]);
    }

    #[test]
    fn what_cannot_be_used_says_why_and_what_to_do() {
        let ((certificate, key), (_, other)) = (made(|_| ()), made(|_| ()));
        let why = |certificate: &str, key: &str| {
            let trouble = Case::new(certificate, key, &[]).files.load().unwrap_err();
            assert!(!trouble.remedy.is_empty());
            (trouble.part, trouble.message)
        };
        let (part, message) = why(&certificate, &other);
        assert_eq!((part, message.as_str()), (Part::Key, "the key is not that of the certificate"));
        assert_eq!(why("", &key).0, Part::Certificate);
        assert_eq!(why(&certificate, "").0, Part::Key);
        assert_eq!(why(&key, &key).0, Part::Certificate);
        let long = certificate.repeat(1 + TLS_FILE_BYTES_MAX as usize / certificate.len());
        assert!(why(&long, &key).1.contains("over"));
    }

    #[test]
    fn what_browsers_would_not_take_is_warned_of() {
        let (certificate, key) = made(|params| params.not_after = date_time_ymd(2020, 1, 1));
        let warnings = Case::new(&certificate, &key, &["b.example", "*.example"]).warnings();
        assert!(warnings[0].starts_with("the certificate has expired, Wed, 01 Jan 2020"));
        assert!(warnings[1].contains("not for `b.example`"), "{warnings:?}");
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        let (certificate, key) = made(|params| params.not_before = date_time_ymd(3000, 1, 1));
        let warnings = Case::new(&certificate, &key, &[]).warnings();
        assert!(warnings[0].contains("not valid before"), "{warnings:?}");
        let (certificate, key) = made(|params| params.subject_alt_names.clear());
        let warnings = Case::new(&certificate, &key, &[]).warnings();
        assert!(warnings[0].contains("has no name"), "{warnings:?}");
    }

    #[test]
    fn that_it_ends_soon_is_told_where_nobody_renews_it() {
        let (certificate, key) = made(|params| params.not_after = date_time_ymd(2040, 1, 15));
        let mut case = Case::new(&certificate, &key, &[]);
        let warned = |case: &Case, day| {
            let loaded = case.files.load().unwrap().unwrap();
            let (_, until) = loaded.valid.unwrap();
            let warnings = loaded.warnings(until - TLS_EXPIRY_WARNING + day);
            warnings.first().map(|trouble| trouble.message[..25].to_owned())
        };
        let (soon, past) = (Duration::from_secs(1), TLS_EXPIRY_WARNING * 2);
        assert_eq!(warned(&case, soon).unwrap(), "the certificate expires s");
        case.files.may_be_missing = true;
        assert_eq!(warned(&case, soon), None);
        assert_eq!(warned(&case, past).unwrap(), "the certificate has expir");
    }

    #[test]
    fn a_key_for_everybody_is_warned_of() {
        let (certificate, key) = made(|_| ());
        let case = Case::new(&certificate, &key, &[]);
        let mode = |mode| {
            fs::set_permissions(&case.files.key, fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(0o640);
        assert_eq!(case.warnings(), [""; 0]);
        mode(0o644);
        assert!(case.warnings()[0].contains("everybody"));
    }

    #[test]
    fn stamps_tell_what_has_changed() {
        let (certificate, key) = made(|_| ());
        let case = Case::new(&certificate, &key, &[]);
        let before = case.files.stamps();
        assert_eq!(case.files.stamps(), before);
        let new = case.folder.path().join("new");
        fs::write(&new, &key).unwrap();
        fs::rename(&new, &case.files.key).unwrap();
        let after = case.files.stamps();
        assert!(after[0] == before[0] && after[1] != before[1]);
        fs::remove_file(&case.files.certificate).unwrap();
        assert_ne!(case.files.stamps()[0], before[0]);
    }

    #[test]
    fn one_that_is_still_on_its_way_is_no_trouble() {
        let mut case = Case::new("", "", &[]);
        fs::remove_file(&case.files.certificate).unwrap();
        assert!(case.files.load().is_err());
        case.files.may_be_missing = true;
        assert!(case.files.load().unwrap().is_none());
    }
}
