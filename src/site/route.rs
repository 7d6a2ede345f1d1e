//! Patterns of paths, and which page has a path.

use smallvec::SmallVec;

/// A pattern that is well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// As matchit writes it, literals normalized.
    route: String,
    /// The names of its parameters.
    pub(super) params: Vec<String>,
    /// The name of the one that takes the rest of the path.
    pub(super) rest: Option<String>,
}

/// The parameters of a path, still encoded, with their names.
pub(super) type Params<'r, 'p> = SmallVec<[(&'r str, &'p str); 2]>;

/// Paths to pages.
#[derive(Debug, Default)]
pub(super) struct Router {
    /// Patterns without a rest. matchit refuses to have a parameter and a rest at one place;
    /// asking one router after the other, there is nothing to refuse.
    plain: matchit::Router<usize>,
    rests: matchit::Router<usize>,
    routes: Vec<String>,
}

impl Pattern {
    /// Reads a pattern as a site file has it.
    ///
    /// # Errors
    /// What is wrong with it, and a remedy.
    pub(super) fn parse(text: &str) -> Result<Self, (String, &'static str)> {
        let wrong = |message: String, hint| Err((message, hint));
        let Some(path) = text.strip_prefix('/') else {
            return wrong("a path must begin with `/`".to_owned(), "write \"/\" in front of it");
        };
        let mut pattern = Self { route: String::new(), params: Vec::new(), rest: None };
        let segments: Vec<&str> = path.split('/').collect();
        for (at, segment) in segments.iter().enumerate() {
            let is_last = at + 1 == segments.len();
            pattern.route.push('/');
            if segment.is_empty() && !is_last {
                let hint = "a path that is asked for never has one";
                return wrong("a path may not have an empty segment".to_owned(), hint);
            }
            pattern.push_segment(segment, is_last)?;
        }
        Ok(pattern)
    }

    /// What all its paths begin with: all of one that has no parameters.
    pub(super) fn prefix(&self) -> &str {
        self.route.split_once("{*").map_or(&self.route, |(prefix, _)| prefix)
    }

    fn push_segment(&mut self, segment: &str, is_last: bool) -> Result<(), (String, &'static str)> {
        let (before, rest) = segment.split_once('{').unwrap_or((segment, ""));
        if rest.is_empty() && !segment.contains('{') {
            let literal = normalized(before)?;
            if matches!(literal.as_str(), "." | "..") {
                let hint = "a path that is asked for never has one";
                return Err(("a path may not have a `.` or `..` segment".to_owned(), hint));
            }
            self.route.push_str(&literal);
            return Ok(());
        }
        let Some((inner, after)) = rest.split_once('}') else {
            return Err(("this `{` has no `}`".to_owned(), "write {name}"));
        };
        if after.contains('{') {
            let hint = "put a `/` between them, or take one parameter apart in the template";
            return Err(("a segment can have one parameter only".to_owned(), hint));
        }
        let name = inner.strip_suffix('*').unwrap_or(inner);
        if !is_name(name) {
            let hint = "a name is letters, digits and underscores, and does not begin with a digit";
            return Err((format!("`{inner}` is not the name of a parameter"), hint));
        }
        if self.params.iter().any(|other| other == name) {
            return Err((format!("the parameter `{name}` is there twice"), "rename one"));
        }
        self.params.push(name.to_owned());
        if name.len() == inner.len() {
            let (before, after) = (normalized(before)?, normalized(after)?);
            self.route.push_str(&format!("{before}{{{name}}}{after}"));
            return Ok(());
        }
        if !is_last || !before.is_empty() || !after.is_empty() {
            let hint = "write it as the last segment: \"/files/{rest*}\"";
            return Err((format!("`{{{inner}}}` must be all of the last segment"), hint));
        }
        self.route.push_str(&format!("{{*{name}}}"));
        self.rest = Some(name.to_owned());
        Ok(())
    }
}

impl Router {
    /// Adds a page.
    ///
    /// # Errors
    /// The page that already has some of these paths, if it can be told which.
    pub(super) fn insert(&mut self, pattern: &Pattern, page: usize) -> Result<(), Option<usize>> {
        let router = if pattern.rest.is_some() { &mut self.rests } else { &mut self.plain };
        // The routes of pages that could not be added are still names of pages.
        while self.routes.len() < page {
            self.routes.push(String::new());
        }
        self.routes.push(pattern.route.clone());
        router.insert(&*pattern.route, page).map_err(|error| match error {
            matchit::InsertError::Conflict { with } => {
                self.routes.iter().take(page).position(|route| *route == with)
            }
            _ => None,
        })
    }

    /// Has a literal path lead to a page, too, unless it leads to another.
    pub(super) fn insert_if_free(&mut self, path: &str, page: usize) {
        let _ = self.plain.insert(path, page);
    }

    /// The page of a path, and its parameters.
    pub(super) fn at<'r, 'p>(&'r self, path: &'p str) -> Option<(usize, Params<'r, 'p>)> {
        let found = self.plain.at(path).or_else(|_| self.rests.at(path)).ok()?;
        Some((*found.value, found.params.iter().collect()))
    }
}

pub(super) fn is_name(name: &str) -> bool {
    let first = name.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A literal as it is in a normalized path (RFC 3986 section 6.2.2): what need not be encoded is
/// not, everything else is, in upper case.
fn normalized(literal: &str) -> Result<String, (String, &'static str)> {
    let mut out = String::new();
    let bytes = literal.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        let byte = match byte {
            b'?' | b'#' => {
                let message = format!("`{}` cannot be in the path of a page", char::from(byte));
                return Err((message, "templates find the query of a request in `query`"));
            }
            b'}' => return Err(("this `}` has no `{`".to_owned(), "write {name}")),
            b'%' => {
                let digits = literal
                    .get(at..at + 2)
                    .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
                let decoded = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                let Some(decoded) = decoded else {
                    let hint = "write a percent sign as %25";
                    return Err(("`%` must be followed by two hex digits".to_owned(), hint));
                };
                at += 2;
                if !is_unreserved(decoded) {
                    out.push_str(&format!("%{decoded:02X}"));
                    continue;
                }
                decoded
            }
            byte => byte,
        };
        if is_unreserved(byte) || b"!$&'()*+,;=:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(out)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(patterns: &[&str]) -> Router {
        let mut router = Router::default();
        for (page, pattern) in patterns.iter().enumerate() {
            router.insert(&Pattern::parse(pattern).unwrap(), page).unwrap();
        }
        router
    }

    #[test]
    fn literal_beats_parameter_beats_rest() {
        let router = router(&["/a/{rest*}", "/a/{x}", "/a/b", "/", "/{rest*}", "/v{n}.txt"]);
        let page = |path: &str| router.at(path).map(|(page, _)| page);
        assert_eq!(page("/a/b"), Some(2));
        assert_eq!(page("/a/c"), Some(1));
        assert_eq!(page("/a/c/d"), Some(0));
        assert_eq!(page("/"), Some(3));
        assert_eq!(page("/zzz"), Some(4));
        assert_eq!(page("/v12.txt"), Some(5));
        assert_eq!(router.at("/a/c/d").unwrap().1.as_slice(), [("rest", "c/d")]);
        assert_eq!(router.at("/a/x%2Fy").unwrap().1.as_slice(), [("x", "x%2Fy")]);
    }

    #[test]
    fn a_parameter_is_at_least_a_byte() {
        let router = router(&["/a/{x}", "/b/{rest*}"]);
        assert!(router.at("/a/").is_none());
        assert!(router.at("/b/").is_none());
        assert!(router.at("/b").is_none());
        assert!(router.at("/a/x/").is_none());
        assert_eq!(router.at("/b/c/").unwrap().1.as_slice(), [("rest", "c/")]);
    }

    #[test]
    fn literals_are_as_in_a_normalized_path() {
        let route = |text: &str| Pattern::parse(text).unwrap().route;
        assert_eq!(route("/caf\u{e9}/%7euser/a b"), "/caf%C3%A9/~user/a%20b");
        assert_eq!(route("/a%2fb/@me"), "/a%2Fb/@me");
    }

    #[test]
    fn conflicts_name_the_other_page() {
        let mut router = router(&["/a", "/u/{id}"]);
        let same = Pattern::parse("/u/{name}").unwrap();
        assert_eq!(router.insert(&same, 2), Err(Some(1)));
        // The same path in another spelling is still the same path.
        let spelled = Pattern::parse("/%61").unwrap();
        assert_eq!(router.insert(&spelled, 3), Err(Some(0)));
        assert_eq!(router.insert(&Pattern::parse("/u/{name}/x").unwrap(), 4), Ok(()));
    }

    #[test]
    fn bad_patterns() {
        for wrong in [
            "", "a", "//", "/a//b", "/{", "/{}", "/{a", "/a}", "/{a}{b}", "/{1}", "/{a-b}",
            "/{r*}/x", "/x{r*}", "/{a}/{a}", "/a?b", "/a#b", "/%", "/%zz", "/..", "/%2e/a",
            "/{a*b}",
        ] {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
