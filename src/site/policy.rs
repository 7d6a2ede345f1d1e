//! What browsers may do with the pages of a site: the fields that all its HTML has, a
//! Content-Security-Policy that fits its templates among them.
//!
//! Scripts are what matters: those from this site run, those of other sites that a template names,
//! and inline ones whose text is the same on every page, by their hash. What comes out of data, by
//! a mistake in escaping say, is none of these and does not run.

use super::error_page;
use crate::config::{PageField, SourceFile};
use crate::limits::POLICY_HASHES_MAX;
use crate::press::{BLOCK, PRINTED, content_type, markup};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use html5gum::{HtmlString, StartTag, Token, Tokenizer};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// The fields of all HTML of a site.
#[derive(Debug)]
pub(super) struct Policy {
    lines: Vec<u8>,
    notes: Vec<String>,
}

impl Policy {
    /// The usual fields, with what the site file says in place of them and beside them.
    pub(super) fn new(fields: &[PageField], templates: &[SourceFile]) -> Self {
        let says = |name: &str| fields.iter().any(|field| field.name.eq_ignore_ascii_case(name));
        let mut lines = Vec::new();
        let mut push = |name: &str, value: &str| {
            for piece in [name, ": ", value, "\r\n"] {
                lines.extend_from_slice(piece.as_bytes());
            }
        };
        let mut notes = Vec::new();
        if !says(CONTENT_SECURITY_POLICY) {
            let mut found = Found::default();
            found.look("the built-in error page", error_page::STYLE);
            for file in templates {
                if content_type(&file.name).starts_with("text/html") {
                    found.look(&format!("template `{}`", file.name), &markup(&file.text));
                }
            }
            push(CONTENT_SECURITY_POLICY, &found.policy());
            notes = found.notes;
        }
        for (name, value) in USUAL {
            if !says(name) {
                push(name, value);
            }
        }
        for field in fields {
            if let Some(value) = &field.value {
                push(&field.name, value);
            }
        }
        Self { lines, notes }
    }

    pub(super) fn lines(&self) -> &[u8] {
        &self.lines
    }

    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }
}

const CONTENT_SECURITY_POLICY: &str = "Content-Security-Policy";
const USUAL: &[(&str, &str)] = &[
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
];

/// What templates need.
#[derive(Default)]
struct Found {
    scripts: Sources,
    styles: Sources,
    frames: BTreeSet<String>,
    forms: BTreeSet<String>,
    notes: Vec<String>,
}

/// Where scripts or styles come from.
#[derive(Default)]
struct Sources {
    origins: BTreeSet<String>,
    hashes: BTreeSet<String>,
    /// Whether some are inline whose text is not always the same.
    inline: bool,
}

/// An address in a template.
enum Address {
    /// On this site.
    Own,
    /// On this one.
    Origin(String),
    /// Known only when the page is made.
    Unknown,
}

impl Found {
    /// Looks through the markup of a template.
    fn look(&mut self, place: &str, text: &str) {
        let mut inside: Option<(bool, String)> = None;
        for Ok(token) in Tokenizer::new(text) {
            match token {
                Token::StartTag(tag) => {
                    self.attributes(place, &tag);
                    inside = self.element(place, &tag).map(|script| (script, String::new()));
                }
                Token::String(piece) => {
                    if let Some((_, content)) = &mut inside {
                        content.push_str(&String::from_utf8_lossy(&piece.value));
                    }
                }
                Token::EndTag(_) => {
                    if let Some((script, content)) = inside.take() {
                        self.inline(place, script, &content);
                    }
                }
                _ => {}
            }
        }
    }

    /// Notes what an element loads; gives whether it is a script for one with text to be looked
    /// at, a style or a script.
    fn element(&mut self, place: &str, tag: &StartTag<()>) -> Option<bool> {
        let attribute = |name: &str| attribute(tag, name);
        let name: &[u8] = &tag.name;
        match name {
            b"script" => match attribute("src") {
                Some(src) => {
                    load(&src, &mut self.scripts.origins, place, "a script", &mut self.notes);
                }
                None => {
                    let kind = attribute("type").unwrap_or_default();
                    return runs(&kind).then_some(true);
                }
            },
            b"style" => return Some(false),
            b"link" => {
                let rel = attribute("rel").unwrap_or_default().to_ascii_lowercase();
                if rel.split_ascii_whitespace().any(|word| word == "stylesheet") {
                    let href = attribute("href").unwrap_or_default();
                    load(&href, &mut self.styles.origins, place, "a stylesheet", &mut self.notes);
                }
            }
            b"iframe" | b"frame" => match attribute("src").map(|src| address(&src)) {
                Some(Address::Origin(origin)) => drop(self.frames.insert(origin)),
                // Videos and maps whose address comes from the data.
                Some(Address::Unknown) => drop(self.frames.insert("https:".to_owned())),
                _ => {}
            },
            b"form" => {
                let action = attribute("action").unwrap_or_default();
                load(&action, &mut self.forms, place, "a form", &mut self.notes);
            }
            _ => {}
        }
        None
    }

    /// Notes scripts and styles in attributes, which have no hash.
    fn attributes(&mut self, place: &str, tag: &StartTag<()>) {
        for (name, value) in &tag.attributes {
            let name = String::from_utf8_lossy(name).replace([PRINTED, BLOCK], "");
            let value = String::from_utf8_lossy(&value.value).trim().to_ascii_lowercase();
            if name == "style" {
                self.styles.inline = true;
            } else if name.len() > 2 && name.starts_with("on") || value.starts_with("javascript:") {
                self.weaken(place, &format!("has a script in an attribute (`{name}`)"));
            }
        }
    }

    /// Notes the text of a script or a style element.
    fn inline(&mut self, place: &str, script: bool, content: &str) {
        // The last two are comments and raw blocks, which are not told from text here.
        let varies =
            content.contains([PRINTED, BLOCK]) || content.contains("{#") || content.contains("{%");
        let sources = if script { &mut self.scripts } else { &mut self.styles };
        if !varies && sources.hashes.len() < POLICY_HASHES_MAX {
            let hash = STANDARD.encode(Sha256::digest(content.as_bytes()));
            sources.hashes.insert(format!("'sha256-{hash}'"));
        } else if script {
            self.weaken(place, "has an inline script that is not the same on every page");
        } else {
            self.styles.inline = true;
        }
    }

    fn weaken(&mut self, place: &str, what: &str) {
        self.scripts.inline = true;
        self.notes.push(format!(
            "{place} {what}: the Content-Security-Policy has to allow all inline scripts"
        ));
    }

    fn policy(&self) -> String {
        let own = |more: &BTreeSet<String>| {
            let more: String = more.iter().map(|origin| format!(" {origin}")).collect();
            format!("'self'{more}")
        };
        let scripts = self.scripts.list();
        let styles = self.styles.list();
        let talk = own(&self.scripts.origins);
        let (frames, forms) = (own(&self.frames), own(&self.forms));
        format!(
            "default-src 'self'; script-src {scripts}; style-src {styles}; img-src * data:; \
             media-src *; font-src 'self' https: data:; connect-src {talk}; frame-src {frames}; \
             object-src 'none'; base-uri 'self'; form-action {forms}; frame-ancestors 'self'"
        )
    }
}

impl Sources {
    /// Hashes would switch `unsafe-inline` off.
    fn list(&self) -> String {
        let inline = "'unsafe-inline'".to_owned();
        let inline = if self.inline { vec![&inline] } else { self.hashes.iter().collect() };
        let all = self.origins.iter().chain(inline);
        all.fold("'self'".to_owned(), |list, source| list + " " + source)
    }
}

fn load(
    text: &str,
    origins: &mut BTreeSet<String>,
    place: &str,
    what: &str,
    notes: &mut Vec<String>,
) {
    match address(text) {
        Address::Own => {}
        Address::Origin(origin) => drop(origins.insert(origin)),
        Address::Unknown => notes.push(format!(
            "{place} has {what} whose address is not known beforehand: the \
             Content-Security-Policy allows it only on this site; [server.headers] can say more"
        )),
    }
}

/// Whether the text of a script element of this type is a script, or decides about scripts.
fn runs(kind: &str) -> bool {
    let kind = kind.trim().to_ascii_lowercase();
    matches!(kind.as_str(), "" | "module" | "importmap" | "speculationrules")
        || kind.contains("javascript")
        || kind.contains("ecmascript")
        || kind.contains([PRINTED, BLOCK])
}

fn attribute(tag: &StartTag<()>, name: &str) -> Option<String> {
    let value = tag.attributes.get(&HtmlString::from(name.as_bytes().to_vec()))?;
    Some(String::from_utf8_lossy(&value.value).trim().to_owned())
}

fn address(text: &str) -> Address {
    let text = text.trim_start_matches(BLOCK);
    if text.starts_with(PRINTED) {
        return Address::Unknown;
    }
    let lower = text.to_ascii_lowercase();
    let scheme = ["https://", "http://", "//"].into_iter().find(|scheme| lower.starts_with(scheme));
    let Some(scheme) = scheme else { return Address::Own };
    let rest = lower.get(scheme.len()..).unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    if host.is_empty() || !host.chars().all(fine) {
        return Address::Unknown;
    }
    let scheme = if scheme == "//" { "" } else { scheme };
    Address::Origin(format!("{scheme}{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Found {
        let mut found = Found::default();
        found.look("template `x.html`", &markup(text));
        found
    }

    fn scripts(text: &str) -> String {
        found(text).scripts.list()
    }

    #[test]
    fn a_site_without_scripts_allows_its_own_alone() {
        let policy = found("<p class=\"{{ a }}\">{{ b }}</p><script src=/x.js></script>").policy();
        assert!(policy.contains("script-src 'self'; style-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'self'"), "{policy}");
    }

    #[test]
    fn scripts_that_never_change_are_known_by_their_hash() {
        // What `printf 'alert(1)' | openssl dgst -sha256 -binary | base64` says.
        let hash = "'self' 'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='";
        assert_eq!(scripts("<script>alert(1)</script>"), hash);
        assert_eq!(scripts("{% if a %}<script>alert(1)</script>{% endif %}"), hash);
        assert_eq!(scripts("{# <b> #}<SCRIPT type='module'>alert(1)</SCRIPT>"), hash);
        assert_eq!(scripts("<script type='application/ld+json'>{}</script>"), "'self'");
    }

    #[test]
    fn scripts_that_change_need_all_inline_ones() {
        for text in [
            "<script>alert(1)</script><script>let a = {{ a | tojson }}</script>",
            "<script>{# b #}alert(1)</script>",
            "<script>{% if a %}alert(1){% endif %}</script>",
            "<p onclick=\"alert(1)\">",
            "<p {% if a %}onclick=\"alert(1)\"{% endif %}>",
            "<a href=\" JavaScript:alert(1)\">",
        ] {
            assert_eq!(scripts(text), "'self' 'unsafe-inline'", "{text}");
            assert_eq!(found(text).notes.len(), 1, "{text}");
        }
    }

    #[test]
    fn what_templates_load_from_elsewhere_is_allowed() {
        let text = "<script src='https://cdn.example/x.js?v={{ v }}'></script>\
            <link rel='stylesheet' href='//Fonts.example/css'><link rel='icon' href='//i.example'>\
            <iframe src='{{ video }}'></iframe><form action='https://pay.example:8443/'>";
        let policy = found(text).policy();
        for wanted in [
            "script-src 'self' https://cdn.example;",
            "connect-src 'self' https://cdn.example;",
            "style-src 'self' fonts.example;",
            "frame-src 'self' https:;",
            "form-action 'self' https://pay.example:8443;",
        ] {
            assert!(policy.contains(wanted), "{wanted} in {policy}");
        }
        assert!(found(text).notes.is_empty());
    }

    #[test]
    fn an_address_out_of_data_is_noted_and_cannot_break_the_field() {
        for text in [
            "<script src='{{ cdn }}/x.js'></script>",
            "<script src='https://{{ host }}/x.js'></script>",
            "<script src=\"https://a;b 'unsafe-eval'/x.js\"></script>",
        ] {
            assert_eq!(scripts(text), "'self'", "{text}");
            assert_eq!(found(text).notes.len(), 1, "{text}");
        }
    }

    #[test]
    fn assets_are_of_this_site() {
        let link = |address: &str| found(&format!("<link rel=stylesheet href=\"{address}\">"));
        assert!(link("{{ asset('style.css') }}").notes.is_empty());
        assert!(link("{{- asset(name) -}}").notes.is_empty());
        for other in ["{{ asset('a.css') if a else b }}", "{{ assets('a.css') }}", "{{ asset }}"] {
            assert_eq!(link(other).notes.len(), 1, "{other}");
        }
    }

    #[test]
    fn styles() {
        assert!(found("<style>p { color: red }</style>").styles.list().contains("'sha256-"));
        assert_eq!(found("<p style='color: red'>").styles.list(), "'self' 'unsafe-inline'");
        let text = "<style>p { color: {{ a }} }</style>";
        assert_eq!(found(text).styles.list(), "'self' 'unsafe-inline'");
    }

    #[test]
    fn the_site_file_goes_before() {
        let field = |name: &str, value: Option<&str>| PageField {
            name: name.to_owned(),
            value: value.map(str::to_owned),
        };
        let fields = [
            field("content-security-policy", Some("default-src *")),
            field("Referrer-Policy", None),
            field("Permissions-Policy", Some("camera=()")),
        ];
        let policy = Policy::new(&fields, &[]);
        let lines = String::from_utf8(policy.lines().to_vec()).unwrap();
        let wanted = "X-Content-Type-Options: nosniff\r\ncontent-security-policy: default-src *\r\n\
            Permissions-Policy: camera=()\r\n";
        assert_eq!(lines, wanted);
        let usual = Policy::new(&[], &[]);
        let usual = String::from_utf8(usual.lines().to_vec()).unwrap();
        assert!(usual.starts_with("Content-Security-Policy: default-src 'self';"), "{usual}");
    }
}
