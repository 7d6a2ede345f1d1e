//! Reads `tests/conformance/responses.txt`, whose first lines say how it is written.

/// What an upstream sends and does, and what has to come of it.
#[derive(Debug)]
pub(crate) struct Case {
    /// Where it stands.
    pub(crate) line: usize,
    pub(crate) name: &'static str,
    bytes: Vec<u8>,
    pub(crate) drips: bool,
    pub(crate) end: End,
    pub(crate) status: u16,
    /// Whether the connection may serve again.
    pub(crate) pooled: bool,
    /// What the page shows, where that is not the token.
    pub(crate) shows: Option<&'static str>,
}

/// What the upstream does after its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Keep,
    Close,
    Reset,
}

/// All cases, in order.
pub(crate) fn all() -> Vec<Case> {
    let mut blocks: Vec<(usize, Vec<&'static str>)> = Vec::new();
    for (line, number) in TEXT.lines().zip(1..) {
        if line.starts_with("# ") {
            blocks.push((number, vec![line]));
        } else if let Some((_, lines)) = blocks.last_mut() {
            lines.push(line);
        }
    }
    let read = |(line, lines): (usize, Vec<&'static str>)| {
        read(line, &lines).unwrap_or_else(|| panic!("responses.txt:{line}: this is no case"))
    };
    blocks.into_iter().map(read).collect()
}

impl Case {
    /// What is sent, for a token of as many characters as its place has.
    pub(crate) fn bytes(&self, token: &str) -> Vec<u8> {
        assert_eq!(token.len(), TOKEN.len());
        let mut bytes = self.bytes.clone();
        for at in (0..bytes.len().saturating_sub(TOKEN.len() - 1)).rev() {
            let place = &mut bytes[at..at + TOKEN.len()];
            if place == TOKEN {
                place.copy_from_slice(token.as_bytes());
            }
        }
        bytes
    }
}

fn read(line: usize, lines: &[&'static str]) -> Option<Case> {
    let (title, rest) = lines.split_first()?;
    let (name, section) = title.strip_prefix("# ")?.split_once(" · ")?;
    section.split(' ').next()?.parse::<u16>().ok()?;
    let mut bytes = Vec::new();
    let (mut drips, mut end, mut outcome) = (false, None, None);
    for line in rest {
        if let Some(text) = line.strip_prefix('>') {
            bytes.extend(unescape(text.strip_prefix(' ').unwrap_or(text))?);
        } else if let Some(then) = line.strip_prefix("then ") {
            end = Some(match then {
                "keep" => End::Keep,
                "close" => End::Close,
                "reset" => End::Reset,
                _ => return None,
            });
        } else if let Some(expected) = line.strip_prefix("< ") {
            outcome = Some(expected);
        }
        drips |= *line == "drip";
    }
    let (outcome, shows) = match outcome?.split_once(" = ") {
        Some((outcome, shows)) => (outcome, Some(shows)),
        None => (outcome?, None),
    };
    let (status, fate) = outcome.split_once(' ')?;
    let pooled = match fate {
        "pooled" => true,
        "gone" => false,
        _ => return None,
    };
    let status = status.parse().ok()?;
    Some(Case { line, name, bytes, drips, end: end?, status, pooled, shows })
}

/// The bytes that a text stands for.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some((what, times, after)) = repetition(rest) {
            bytes.extend(unescape(what)?.repeat(times));
            rest = after;
            continue;
        }
        let length = match (first, rest.get(1..2)) {
            ('\\', Some("x")) => {
                bytes.push(u8::from_str_radix(rest.get(2..4)?, 16).ok()?);
                4
            }
            ('\\', escaped) => {
                let escapes = [("r", b'\r'), ("n", b'\n'), ("t", b'\t'), ("0", 0), ("\\", b'\\')];
                bytes.push(escapes.iter().find(|(name, _)| Some(*name) == escaped)?.1);
                2
            }
            _ => {
                bytes.extend_from_slice(&rest.as_bytes()[..first.len_utf8()]);
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    Some(bytes)
}

/// What is repeated, how often, and what follows, if the text begins with `{TEXT*COUNT}`.
fn repetition(text: &str) -> Option<(&str, usize, &str)> {
    let (within, after) = text.strip_prefix('{')?.split_once('}')?;
    let (what, times) = within.rsplit_once('*')?;
    let times = times.parse().ok()?;
    (!what.contains('{')).then_some((what, times, after))
}

const TEXT: &str = include_str!("../conformance/responses.txt");
const TOKEN: &[u8] = b"@@@@";

#[test]
fn escapes_and_repetitions_stand_for_bytes() {
    assert_eq!(unescape(r"a\r\n\t\0\\\x7fé").unwrap(), "a\r\n\t\0\\\u{7f}é".as_bytes());
    assert_eq!(unescape(r"{\xff*3}{{a\n*2}").unwrap(), b"\xff\xff\xff{a\na\n");
    assert_eq!(unescape(r#"{"a": 2}{*4}"#).unwrap(), br#"{"a": 2}"#);
    assert_eq!((unescape(r"\q"), unescape(r"\x1"), unescape(r"\")), (None, None, None));
}

#[test]
fn names_say_one_case_each() {
    let cases = all();
    assert!(cases.len() >= 90);
    let mut names: Vec<&str> = cases.iter().map(|case| case.name).collect();
    names.sort_unstable();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(twice, None);
    let shows_a_token = |case: &&Case| case.status == 200 && case.shows.is_none();
    let mut tokens = cases.iter().filter(shows_a_token);
    assert!(tokens.all(|case| case.bytes("1234") != case.bytes("5678")));
}
