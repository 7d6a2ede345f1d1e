//! The script that goes along with each page, and where in the page it goes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// It asks what is new, has the browser load the page again, and shows what is wrong over it.
const SCRIPT: &str = include_str!("overlay.js");

/// Where it asks.
pub(super) const NEWS: &[u8] = b"/.ringpress/dev";

/// The script's hash, as a Content-Security-Policy has it.
pub(super) fn hash() -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(SCRIPT.as_bytes())))
}

/// Puts the script into a page that begins at `from`, with the number of the site that the page is
/// of and, as JSON, what went wrong with it, if anything did.
pub(super) fn inject(page: &mut Vec<u8>, from: usize, number: u64, told: Option<&str>) {
    let data = told.map_or_else(String::new, |told| {
        format!("<script type=\"application/json\" id=\"ringpress-told\">{told}</script>")
    });
    let added = format!("{data}<script data-seen=\"{number}\">{SCRIPT}</script>\n");
    let at = end_of_body(page.get(from..).unwrap_or_default()).map_or(page.len(), |at| from + at);
    page.splice(at..at, added.into_bytes());
}

/// Where the last `</body` begins.
fn end_of_body(page: &[u8]) -> Option<usize> {
    const END: &[u8] = b"</body";
    let mut windows = page.windows(END.len());
    windows.rposition(|window| window.eq_ignore_ascii_case(END))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn injected(page: &str) -> String {
        let mut bytes = page.as_bytes().to_vec();
        inject(&mut bytes, 2, 7, Some("{}"));
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_script_goes_before_the_end_of_the_body_or_to_the_end() {
        let page = injected("..<p>a</BODY ></html>");
        let (before, after) = page.split_once("</BODY >").unwrap();
        assert!(before.starts_with("..<p>a<script type=\"application/json\""), "{page}");
        assert!(before.ends_with("</script>\n") && after == "</html>", "{page}");
        assert!(injected("..<p>a").ends_with("</script>\n"));
        assert!(injected("..").starts_with("..<script"));
    }

    #[test]
    fn the_script_does_not_end_before_its_end() {
        let lower = SCRIPT.to_ascii_lowercase();
        assert!(!lower.contains("</script") && !lower.contains("<!--"));
        assert!(SCRIPT.contains(std::str::from_utf8(NEWS).unwrap()));
    }
}
