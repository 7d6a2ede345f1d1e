//! Content codings (RFC 9110 section 8.4.1), and which of those a reader takes is best (section
//! 12.5.3).

/// How the bytes of a representation are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Coding {
    /// As they are.
    #[default]
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// Those that pack.
    pub const PACKED: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// Its name in Accept-Encoding and Content-Encoding; empty for bytes as they are, which are
    /// not named there.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// Of the codings we have, in the order in which we like them, the one that a reader with
    /// these values of Accept-Encoding likes best. Bytes as they are where it takes none of them:
    /// also where it says that it does not want those, as an answer beats 406. Who sends no such
    /// field has asked for nothing, and gets bytes as they are.
    pub fn best<'a>(values: impl Iterator<Item = &'a [u8]>, ours: &[Self]) -> Self {
        let mut wanted = Wanted::default();
        for item in values.flat_map(|value| value.split(|byte| *byte == b',')) {
            wanted.note(item);
        }
        let plain = wanted.plain();
        let mut best = (Self::Identity, 0);
        for &coding in ours {
            let weight = wanted.packed(coding);
            if weight > best.1 && weight >= plain {
                best = (coding, weight);
            }
        }
        best.0
    }
}

/// How much a reader wants each coding, in thousandths; none where it does not say.
#[derive(Default)]
struct Wanted {
    identity: Option<u16>,
    gzip: Option<u16>,
    brotli: Option<u16>,
    zstd: Option<u16>,
    /// Those that are not named.
    others: Option<u16>,
}

impl Wanted {
    fn note(&mut self, item: &[u8]) {
        let mut parts = item.split(|byte| *byte == b';');
        let name = parts.next().unwrap_or_default().trim_ascii();
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        let place = match name.len() {
            1 if is(b"*") => &mut self.others,
            2 if is(b"br") => &mut self.brotli,
            4 if is(b"gzip") => &mut self.gzip,
            4 if is(b"zstd") => &mut self.zstd,
            // An old name of it (RFC 9110 section 8.4.1.3).
            6 if is(b"x-gzip") => &mut self.gzip,
            8 if is(b"identity") => &mut self.identity,
            _ => return,
        };
        // Who names one twice is taken at the first word.
        let _ = place.get_or_insert_with(|| parts.find_map(quality).unwrap_or(ALL));
    }

    /// What is not named is wanted as much as `*` says, or not at all.
    fn packed(&self, coding: Coding) -> u16 {
        let named = match coding {
            Coding::Identity => return self.plain(),
            Coding::Gzip => self.gzip,
            Coding::Brotli => self.brotli,
            Coding::Zstd => self.zstd,
        };
        named.or(self.others).unwrap_or(0)
    }

    /// Bytes as they are may always be sent, unless they are refused: by name, or by a `*` that
    /// refuses all that is not named. Whoever names others and not these likes the others better.
    fn plain(&self) -> u16 {
        let refused = self.others.filter(|weight| *weight == 0);
        self.identity.or(refused).unwrap_or(1)
    }
}

/// `q=0.5` (RFC 9110 section 12.4.2), in thousandths; what is malformed is nothing wanted.
fn quality(parameter: &[u8]) -> Option<u16> {
    let (name, value) = parameter.split_at(memchr::memchr(b'=', parameter)?);
    if !name.trim_ascii().eq_ignore_ascii_case(b"q") {
        return None;
    }
    let text = value.get(1..).unwrap_or_default().trim_ascii();
    let (whole, part) = match memchr::memchr(b'.', text) {
        Some(at) => (text.get(..at)?, text.get(at + 1..)?),
        None => (text, &[][..]),
    };
    let is_small = part.len() <= 3 && part.iter().all(u8::is_ascii_digit);
    let digits = part.iter().chain(b"000").take(3);
    let thousandths = digits.fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    match whole {
        b"0" if is_small => Some(thousandths),
        b"1" if is_small && thousandths == 0 => Some(ALL),
        _ => Some(0),
    }
}

const ALL: u16 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn best(value: &str) -> Coding {
        Coding::best([value.as_bytes()].into_iter(), &Coding::PACKED)
    }

    #[test]
    fn the_first_of_ours_among_those_wanted_most() {
        for (value, coding) in [
            ("gzip, deflate, br, zstd", Coding::Zstd),
            ("gzip, deflate, br", Coding::Brotli),
            ("gzip;q=1.0, br;q=0.9", Coding::Gzip),
            ("GZIP", Coding::Gzip),
            ("x-gzip", Coding::Gzip),
            ("*", Coding::Zstd),
            ("*;q=0.5, zstd;q=0", Coding::Brotli),
            ("br ; Q=0.3", Coding::Brotli),
            ("gzip;q=0.001", Coding::Gzip),
            ("deflate, gzip;q=1.0, *;q=0.5", Coding::Gzip),
            ("identity;q=0.5, gzip;q=0.5", Coding::Gzip),
            ("identity;q=0, br;q=0.001", Coding::Brotli),
            ("*;q=0, gzip", Coding::Gzip),
            ("gzip, gzip;q=0", Coding::Gzip),
            ("\tgzip\t;\tq=0.5", Coding::Gzip),
        ] {
            assert_eq!(best(value), coding, "{value}");
        }
        let two = [&b"gzip"[..], b"br;q=0.5"];
        assert_eq!(Coding::best(two.into_iter(), &Coding::PACKED), Coding::Gzip);
    }

    #[test]
    fn who_wants_none_of_ours_gets_bytes_as_they_are() {
        for value in [
            "",
            "identity",
            "deflate",
            "br;q=0",
            "gzip;q=0, *;q=0",
            "gzip;q=2",
            "gzip;q=-1",
            "gzip;q=0.0000",
            "gzip;q=x",
            "gzip;q=",
            "gzip;q=0.5, identity",
            "br, identity;q=1.0;q",
            ",,;;",
            "gzipp",
            "*;q=0",
            "identity;q=0",
        ] {
            let wanted = if value.starts_with("br, ") { Coding::Brotli } else { Coding::Identity };
            assert_eq!(best(value), wanted, "{value}");
        }
        let nothing: [&[u8]; 0] = [];
        assert_eq!(Coding::best(nothing.into_iter(), &Coding::PACKED), Coding::Identity);
    }
}
