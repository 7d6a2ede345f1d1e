//! What the Content-Security-Policy of a site must allow beside what it does: one script, by its
//! hash, and that it asks this server.

/// The field lines of a site's pages, with a policy that allows an inline script of this hash
/// (`'sha256-...'`), and connections to where the page is from.
pub(super) fn allow(lines: &[u8], hash: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(lines.len() + hash.len());
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        let text = std::str::from_utf8(line).unwrap_or_default();
        match text.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-security-policy") => {
                let policies: Vec<String> =
                    value.trim().split(',').map(|policy| widen(policy, hash)).collect();
                out.extend_from_slice(format!("{name}: {}\r\n", policies.join(", ")).as_bytes());
            }
            _ => out.extend_from_slice(line),
        }
    }
    out
}

/// One policy, widened.
fn widen(policy: &str, hash: &str) -> String {
    let mut directives: Vec<(String, Vec<&str>)> = Vec::new();
    for directive in policy.split(';') {
        let mut words = directive.split_ascii_whitespace();
        if let Some(name) = words.next() {
            directives.push((name.to_ascii_lowercase(), words.collect()));
        }
    }
    // What governs an inline script, and a fetch, where there are several: the most special one
    // (Content Security Policy Level 3, section 6.8.3).
    add(&mut directives, &["script-src-elem", "script-src", "default-src"], hash);
    add(&mut directives, &["connect-src", "default-src"], "'self'");
    let written = directives.iter().map(|(name, words)| {
        std::iter::once(name.as_str()).chain(words.iter().copied()).collect::<Vec<_>>().join(" ")
    });
    written.collect::<Vec<_>>().join("; ")
}

/// Adds a source to the first of these directives that there is. Where that is the default, what it
/// stands for gets a directive of its own, so that nothing else is allowed more.
fn add<'a>(directives: &mut Vec<(String, Vec<&'a str>)>, names: &[&str], source: &'a str) {
    let found = names.iter().find_map(|name| directives.iter().position(|(own, _)| own == name));
    let Some(place) = found else { return };
    let Some((name, mut words)) = directives.get(place).cloned() else { return };
    words.retain(|word| !word.eq_ignore_ascii_case("'none'"));
    let is_hash = |word: &str| word.starts_with("'sha") || word.starts_with("'nonce-");
    let allows_all = words.contains(&"'unsafe-inline'") && !words.iter().any(|word| is_hash(word));
    if words.contains(&source) || is_hash(source) && allows_all {
        // A hash would switch `unsafe-inline` off.
        return;
    }
    words.push(source);
    match name == "default-src" {
        // The one before the default in the list is the usual one.
        true => {
            let own = names.iter().rev().nth(1).unwrap_or(&"default-src");
            directives.push(((*own).to_owned(), words));
        }
        false => {
            if let Some(directive) = directives.get_mut(place) {
                directive.1 = words;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widened(policy: &str) -> String {
        widen(policy, "'sha256-x'")
    }

    #[test]
    fn a_policy_is_widened_by_one_script_and_no_more() {
        assert_eq!(
            widened("default-src 'self'; script-src 'self' 'sha256-y'; connect-src 'self'"),
            "default-src 'self'; script-src 'self' 'sha256-y' 'sha256-x'; connect-src 'self'"
        );
        assert_eq!(
            widened("default-src 'none'; IMG-SRC *"),
            "default-src 'none'; img-src *; script-src 'sha256-x'; connect-src 'self'"
        );
        assert_eq!(
            widened("default-src https: 'unsafe-inline'"),
            "default-src https: 'unsafe-inline'; connect-src https: 'unsafe-inline' 'self'"
        );
        assert_eq!(
            widened("script-src 'none'; script-src-elem https:"),
            "script-src 'none'; script-src-elem https: 'sha256-x'"
        );
        assert_eq!(widened("frame-ancestors 'self'"), "frame-ancestors 'self'");
    }

    #[test]
    fn other_fields_stay_as_they_are() {
        let lines = b"X-A: script-src 'none'\r\ncontent-security-policy: script-src 'none', \
            img-src *\r\nX-B: b\r\n";
        let wanted = "X-A: script-src 'none'\r\ncontent-security-policy: script-src 'sha256-x', \
            img-src *\r\nX-B: b\r\n";
        assert_eq!(String::from_utf8(allow(lines, "'sha256-x'")).unwrap(), wanted);
    }
}
