//! Who is named in a certificate, for people to read. Nothing is decided by it.

use crate::limits;

/// Who a certificate is of, or who has issued it: a distinguished name (RFC 5280 section 4.1.2.4)
/// without its outer sequence. Its common name, or what else tells; none where nothing does.
pub(super) fn who(name: &[u8]) -> Option<String> {
    [COMMON_NAME, ORGANIZATION, UNIT].into_iter().find_map(|wanted| {
        let mut sets = name;
        while let Some((_, set, rest)) = take(sets) {
            sets = rest;
            let mut attributes = set;
            while let Some((_, attribute, rest)) = take(attributes) {
                attributes = rest;
                let (_, kind, value) = take(attribute)?;
                let (form, text, _) = take(value)?;
                if kind == wanted && TEXTS.contains(&form) && !text.is_empty() {
                    return Some(tell(&String::from_utf8_lossy(text)));
                }
            }
        }
        None
    })
}

/// A name that a peer has chosen, as it may be told: no longer than that, and on one line.
pub(super) fn tell(name: &str) -> String {
    let plain = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    name.chars().take(limits::TLS_NAME_TOLD_CHARS_MAX).map(plain).collect()
}

/// The first element of some DER: its tag, its content, and what comes after it.
fn take(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => rest.split_first().map(|(&length, rest)| (usize::from(length), rest))?,
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        // Nobody has a name of more than 64 KiB.
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

// Object identifiers of attributes, and the tags of texts that are ASCII or UTF-8.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANIZATION: &[u8] = &[0x55, 4, 10];
const UNIT: &[u8] = &[0x55, 4, 11];
const TEXTS: [u8; 4] = [12, 19, 20, 22];

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    fn named(pairs: &[(DnType, &str)]) -> Vec<u8> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, text) in pairs {
            params.distinguished_name.push(kind.clone(), *text);
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        webpki::EndEntityCert::try_from(certificate.der()).unwrap().subject().to_vec()
    }

    #[test]
    fn the_common_name_tells_or_else_the_organization() {
        let pairs = [(DnType::OrganizationName, "Org"), (DnType::CommonName, "Tëst CA")];
        assert_eq!(who(&named(&pairs)).as_deref(), Some("Tëst CA"));
        assert_eq!(who(&named(&pairs[..1])).as_deref(), Some("Org"));
        assert_eq!(who(&named(&[])), None);
    }

    #[test]
    fn a_name_cannot_end_the_line_or_fill_the_log() {
        let long = format!("a\nb\u{1b}[1m{}", "x".repeat(500));
        let told = who(&named(&[(DnType::CommonName, &long)])).unwrap();
        assert!(told.starts_with("a\u{fffd}b\u{fffd}[1m"), "{told}");
        assert_eq!(told.chars().count(), limits::TLS_NAME_TOLD_CHARS_MAX);
    }

    #[test]
    fn nonsense_is_nobody_wherever_it_is_cut() {
        let whole = named(&[(DnType::CommonName, "somebody")]);
        for cut in 0..whole.len() {
            assert_eq!(who(&whole[..cut]), None);
        }
        assert_eq!(who(&[0x31, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(who(&[0xff; 64]), None);
    }
}
