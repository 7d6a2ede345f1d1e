//! A set of methods: those that a page takes.

use super::Method;

/// The methods that a page takes. HEAD goes with GET (RFC 9110 section 9.3.2), and OPTIONS with
/// all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Methods(u8);

impl Methods {
    /// GET and HEAD.
    pub const READ: Self = Self(1);

    /// Those that are named: of GET, POST, PUT, PATCH and DELETE.
    pub fn named<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let bits = names.filter_map(|name| bit(Method::of(name.as_bytes())));
        Self(bits.fold(0, |all, bit| all | bit))
    }

    /// Whether a method is among them.
    pub fn have(self, method: Method) -> bool {
        method == Method::Options || bit(method).is_some_and(|bit| self.0 & bit != 0)
    }

    /// Whether all of them only read (RFC 9110 section 9.2.1).
    pub fn are_safe(self) -> bool {
        self.0 & !Self::READ.0 == 0
    }

    /// These and others.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// The value of an Allow field (RFC 9110 section 10.2.1).
    pub fn allow(self) -> String {
        let mut names = Vec::new();
        for method in CHOICE.into_iter().filter(|method| self.have(*method)) {
            names.push(method.as_str());
            if method == Method::Get {
                names.push(Method::Head.as_str());
            }
        }
        names.push(Method::Options.as_str());
        names.join(", ")
    }
}

fn bit(method: Method) -> Option<u8> {
    let method = if method == Method::Head { Method::Get } else { method };
    let place = CHOICE.iter().position(|other| *other == method)?;
    Some(1 << place)
}

/// The methods to choose from, in the order they are told. The first is the lowest bit.
const CHOICE: [Method; 5] = [Method::Get, Method::Post, Method::Put, Method::Patch, Method::Delete];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_tells_what_is_in_it() {
        let form = Methods::named(["POST", "GET"].into_iter());
        assert_eq!(form.allow(), "GET, HEAD, POST, OPTIONS");
        assert_eq!(Methods::READ.allow(), "GET, HEAD, OPTIONS");
        let hook = Methods::named(["POST"].into_iter());
        assert_eq!(hook.allow(), "POST, OPTIONS");
        for method in [Method::Get, Method::Head, Method::Post, Method::Options] {
            assert!(form.have(method), "{method:?}");
        }
        for method in [Method::Put, Method::Trace, Method::Connect, Method::Other] {
            assert!(!form.have(method), "{method:?}");
        }
        assert!(!hook.have(Method::Head) && !hook.are_safe() && Methods::READ.are_safe());
        assert_eq!(hook.and(Methods::READ), form);
    }
}
