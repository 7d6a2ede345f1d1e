//! Requests as raw bytes and what they must be answered, read from a text file whose first lines
//! say how it is written.

use std::collections::HashSet;

/// Each one a connection.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The section of the RFC it is about.
    pub(crate) section: &'static str,
    /// Where it stands in the file.
    pub(crate) line: usize,
    pub(crate) steps: Vec<Step>,
    pub(crate) ending: Ending,
}

/// What is sent at once, and the answers that come to it.
#[derive(Default)]
pub(crate) struct Step {
    pub(crate) bytes: Vec<u8>,
    /// Whether the visitor ends its side of the connection then.
    pub(crate) ends: bool,
    pub(crate) answers: Vec<Expected>,
}

/// One answer.
#[derive(Clone)]
pub(crate) struct Expected {
    /// As it is written: `405,allow`.
    pub(crate) text: &'static str,
    pub(crate) status: u16,
    pub(crate) no_body: bool,
}

/// What becomes of the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Keep,
    Close,
    End,
}

impl Case {
    /// All that is expected, as it is written.
    pub(crate) fn expected(&self) -> String {
        let answers = self.steps.iter().flat_map(|step| &step.answers);
        let texts: Vec<&str> = answers.map(|answer| answer.text).collect();
        [&texts[..], &[self.ending.name()]].concat().join(" ")
    }
}

impl Ending {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Close => "close",
            Self::End => "end",
        }
    }
}

/// All cases of the file.
pub(crate) fn cases() -> Vec<Case> {
    read(include_str!("../conformance/requests.txt"))
}

fn read(text: &'static str) -> Vec<Case> {
    let mut cases = Vec::new();
    // The title of the case at hand, and its steps; the last one is not answered yet.
    let mut title = None;
    let mut steps = vec![Step::default()];
    for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
        let bad = |why: &str| -> ! { panic!("line {number}: {why}: {line}") };
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        let step = steps.last_mut().expect("a step");
        match mark {
            "" | "//" | "##" => {}
            "#" if title.is_none() => {
                let Some((name, section)) = rest.split_once(" · ") else { bad("no section") };
                title = Some((name, section, number));
            }
            ">" if !step.ends => step.bytes.append(&mut unescape(rest)),
            "$" => step.ends = true,
            "<" => match answers(rest) {
                Some((answers, None)) => {
                    step.answers = answers;
                    steps.push(Step::default());
                }
                Some((answers, Some(ending))) => {
                    step.answers = answers;
                    let Some((name, section, line)) = title.take() else { bad("no title") };
                    let steps = std::mem::replace(&mut steps, vec![Step::default()]);
                    cases.push(Case { name, section, line, steps, ending });
                }
                None => bad("no answers"),
            },
            _ => bad("out of place"),
        }
    }
    assert!(title.is_none(), "the last case has no answers");
    cases
}

fn answers(text: &'static str) -> Option<(Vec<Expected>, Option<Ending>)> {
    let mut answers = Vec::new();
    let mut ending = None;
    for word in text.split(' ') {
        let known = [Ending::Keep, Ending::Close, Ending::End];
        if let Some(named) = known.into_iter().find(|known| known.name() == word) {
            ending = Some(named);
            continue;
        }
        let (text, count) = word.split_once('*').unwrap_or((word, "1"));
        let mut parts = text.split(',');
        let status = parts.next()?.parse().ok()?;
        let facts: Vec<&str> = parts.collect();
        if ending.is_some() || !facts.iter().all(|fact| ["allow", "no-body"].contains(fact)) {
            return None;
        }
        let answer = Expected { text, status, no_body: facts.contains(&"no-body") };
        answers.extend(vec![answer; count.parse().ok()?]);
    }
    Some((answers, ending))
}

/// The bytes that a text stands for.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (mut taken, mut meant) = (first.len_utf8(), first.to_string().into_bytes());
        if first == '\\' {
            taken = if rest[1..].starts_with('x') { 4 } else { 2 };
            meant = vec![escaped(&rest[1..taken])];
        } else if first == '{' {
            let end = rest.find('}').expect("a closing brace");
            let (part, count) = rest[1..end].rsplit_once('*').expect("a count");
            taken = end + 1;
            meant = unescape(part).repeat(count.parse().expect("a count"));
        }
        bytes.append(&mut meant);
        rest = &rest[taken..];
    }
    bytes
}

fn escaped(escape: &str) -> u8 {
    match escape.as_bytes() {
        b"r" => b'\r',
        b"n" => b'\n',
        b"t" => b'\t',
        b"0" => 0,
        b"\\" => b'\\',
        b"{" => b'{',
        [b'x', ..] => u8::from_str_radix(&escape[1..], 16).expect("two hexadecimal digits"),
        _ => panic!("no such escape: {escape}"),
    }
}

#[test]
fn every_case_has_a_name_of_its_own_and_a_section() {
    let cases = cases();
    assert!(cases.len() >= 170, "{}", cases.len());
    let mut names = HashSet::new();
    for case in &cases {
        let (name, line) = (case.name, case.line);
        assert!(names.insert(name), "line {line}: {name} twice");
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        assert!(name.bytes().all(is_plain), "line {line}: {name}");
        let (rfc, section) = case.section.split_once(' ').expect("RFC and section");
        assert!(["3986", "6585", "9110", "9112", "9113"].contains(&rfc), "line {line}: {rfc}");
        let is_number = |part: &str| part.parse::<u8>().is_ok();
        assert!(section.split('.').all(is_number), "line {line}: {section}");
    }
}

#[test]
fn texts_stand_for_bytes() {
    assert_eq!(unescape(r"a\r\n\t\0\\\{}\xfF ä"), b"a\r\n\t\0\\{}\xff \xc3\xa4");
    assert_eq!(unescape(r"{ab*2}{*\r\n*3}-"), b"abab*\r\n*\r\n*\r\n-");
}

#[test]
fn a_case_is_read_as_it_is_written() {
    let text =
        "## C\n\n# a · 9112 2.2\n> x\n> y\n< 100\n$\n< 204,allow*2 end\n\n# b · 3986 1\n< 1 keep";
    let cases = read(text);
    assert_eq!(cases.len(), 2);
    let [first, second] = &cases[0].steps[..] else { panic!("two steps") };
    assert_eq!((cases[0].name, cases[0].section, cases[0].line), ("a", "9112 2.2", 3));
    assert_eq!((&first.bytes[..], first.ends, first.answers.len()), (&b"xy"[..], false, 1));
    assert_eq!((&second.bytes[..], second.ends, second.answers.len()), (&b""[..], true, 2));
    assert_eq!(cases[0].expected(), "100 204,allow 204,allow end");
}
