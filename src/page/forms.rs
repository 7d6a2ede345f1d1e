//! What comes with a request that changes something: whether it may come from where it does, and
//! the form that it brings.
//!
//! Requests of other sites are told by what browsers say of them, `Sec-Fetch-Site`, else `Origin`,
//! and not by a token in each form: there is no secret to keep, no state to share, and pages that
//! are kept or cached have forms that work. All browsers send Origin with a POST since 2020 and
//! Sec-Fetch-Site since 2023; what sends neither is no browser, and has no visitor's cookies.

use std::convert::Infallible;
use std::future::ready;

use futures_util::{FutureExt, stream};
use multer::Multipart;
use multer::bytes::Bytes;

use crate::config::Origin;
use crate::driver::Driver;
use crate::http::{self, Method, Methods};
use crate::press::{Form, FormFile, Value};
use crate::site::{Inputs, Page, ServerPlan, Takes};

use super::request::Request;
use super::{Outcome, Pages};

/// The status and the reason of a refusal.
type Refusal = (u16, &'static str);

impl<D: Driver> Pages<D> {
    /// Whether a body of such a request means anything: one of a GET is read and not looked at,
    /// others where a page will take them.
    pub fn wants_body(&self, request: &Request<'_>) -> bool {
        match request.method {
            Method::Get | Method::Head | Method::Options => true,
            _ => self
                .taker(request)
                .is_some_and(|page| request.refusal(page, self.site().server()).is_none()),
        }
    }

    /// How long that body may be, bytes, where `usual` is what the server takes.
    pub fn body_bytes_max(&self, request: &Request<'_>, usual: u64) -> u64 {
        match request.method {
            Method::Get | Method::Head | Method::Options => usual,
            _ => self.taker(request).and_then(|page| page.takes().body_bytes_max).unwrap_or(usual),
        }
    }

    /// All methods of all pages.
    pub(super) fn methods(&self) -> Methods {
        let pages = self.site().pages().iter();
        pages.fold(Methods::READ, |all, page| all.and(page.takes().methods))
    }

    /// The page that takes a request, if its method is among those that it has.
    fn taker(&self, request: &Request<'_>) -> Option<&Page> {
        let path = http::path::normalize(request.path).ok()?;
        let (page, _) = self.site().route(std::str::from_utf8(&path).ok()?)?;
        page.takes().methods.have(request.method).then_some(page)
    }

    /// Takes in what comes with a request that changes something.
    pub(super) fn take_in(
        &self,
        request: &Request<'_>,
        page: &Page,
        inputs: &mut Inputs,
    ) -> Result<(), Outcome<'_>> {
        if page.uses().form {
            let form = read(request, page.takes())
                .map_err(|(status, reason)| Outcome::Refused(status, reason))?;
            inputs.form = Some(Box::new(form));
        }
        Ok(())
    }
}

impl Request<'_> {
    /// Why a request that changes something is not taken, if it is not, as far as its head tells.
    pub(super) fn refusal(&self, page: &Page, server: &ServerPlan) -> Option<Refusal> {
        if page.takes().is_guarded && self.is_cross_site(server) {
            return Some((403, CROSS_SITE));
        }
        if self.lacks_length {
            return Some((411, "The request does not say how long its body is."));
        }
        if self.has_unmet_condition() {
            return Some((412, "This page is not (any more) what was asked for."));
        }
        if page.uses().form && self.kind() == Some(Kind::Other) {
            return Some((415, UNKNOWN_TYPE));
        }
        (page.uses().form && self.is_packed()).then_some((415, PACKED))
    }

    /// Whether the body is in a coding, which none here is taken out of: its bytes are not what its
    /// type says (RFC 9110 section 15.5.16).
    fn is_packed(&self) -> bool {
        let codings = self.values(b"content-encoding");
        let mut codings = codings.flat_map(|value| value.split(|&byte| byte == b','));
        codings.any(|coding| {
            let coding = coding.trim_ascii();
            !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
        })
    }

    /// Whether a browser says that another site has made it send this.
    fn is_cross_site(&self, server: &ServerPlan) -> bool {
        let origin = self.field("origin");
        let parsed = || Origin::parse(std::str::from_utf8(origin?).ok()?).ok();
        let scheme = |origin: &Origin| if origin.is_secure { "https" } else { "http" };
        let is_trusted = |origin: Origin| {
            let written = format!("{}://{}", scheme(&origin), origin.authority);
            server.trusted_origins.contains(&written)
        };
        if !server.trusted_origins.is_empty() && parsed().is_some_and(is_trusted) {
            return false;
        }
        if let Some(site) = self.field("sec-fetch-site") {
            return !matches!(site, b"same-origin" | b"none");
        }
        if origin.is_none() {
            return false;
        }
        // `null` is an origin too: of a page that nobody is to know.
        let Some(origin) = parsed().filter(|origin| origin.base_path.is_empty()) else {
            return true;
        };
        let forwarded = self.forwarded(server);
        let https = forwarded.https.unwrap_or(self.secure);
        let host = forwarded.host.unwrap_or(self.host());
        let Ok(host) = std::str::from_utf8(host) else { return true };
        // The same way of writing it. Where we know of no TLS a proxy may have ended it that tells
        // nobody; where we do, what comes from the site without TLS may be anybody's.
        let ours = Origin::parse(&format!("{}://{host}", scheme(&origin)));
        let is_ours = ours.is_ok_and(|ours| ours.authority == origin.authority);
        !is_ours || (https && !origin.is_secure)
    }

    /// Whether it is to be done only if the page is, or is not, in a state that we know nothing of
    /// (RFC 9110 section 13.1): then it is not done.
    fn has_unmet_condition(&self) -> bool {
        let is_any = self.field("if-none-match").is_some_and(|value| value.trim_ascii() == b"*");
        self.field("if-match").is_some() || is_any
    }

    /// The first field of a name.
    fn field(&self, name: &str) -> Option<&[u8]> {
        self.headers?.get(self.bytes, name.as_bytes())
    }

    fn kind(&self) -> Option<Kind> {
        let value = self.field("content-type")?;
        let media_type = value.split(|&byte| byte == b';').next().unwrap_or_default();
        let is = |name: &str| media_type.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
        Some(match () {
            () if is("application/x-www-form-urlencoded") => Kind::Pairs,
            () if is("multipart/form-data") => Kind::Parts,
            () if is("application/json") => Kind::Json,
            () => Kind::Other,
        })
    }
}

/// The forms in which a form comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pairs,
    Parts,
    Json,
    Other,
}

/// The form of a request; all of it, or why not.
fn read(request: &Request<'_>, takes: &Takes) -> Result<Form, Refusal> {
    match request.kind() {
        None if request.body.is_empty() => Ok(Form::default()),
        None | Some(Kind::Other) => Err((415, UNKNOWN_TYPE)),
        Some(Kind::Pairs) => read_pairs(request.body, takes.fields_max),
        Some(Kind::Parts) => {
            let content_type = request.field("content-type").unwrap_or_default();
            read_parts(request.body, content_type, takes.fields_max)
        }
        Some(Kind::Json) => {
            let form = Form::of_json(request.body);
            let form = form.ok_or((400, "The body is not a JSON object."))?;
            if form.count() > takes.fields_max {
                return Err(TOO_MANY);
            }
            Ok(form)
        }
    }
}

fn read_pairs(body: &[u8], fields_max: usize) -> Result<Form, Refusal> {
    let pairs = http::path::form_pairs(body);
    let mut fields = Vec::new();
    for (name, value) in pairs {
        if fields.len() >= fields_max {
            return Err(TOO_MANY);
        }
        fields.push((name.into_owned(), Value::from(value.as_ref())));
    }
    Ok(Form::new(fields))
}

/// The fields of a multipart body (RFC 7578). It is all there, so that what the parser waits for
/// will never come.
fn read_parts(body: &[u8], content_type: &[u8], fields_max: usize) -> Result<Form, Refusal> {
    let content_type = std::str::from_utf8(content_type).map_err(|_| MALFORMED)?;
    let boundary = multer::parse_boundary(content_type).map_err(|_| MALFORMED)?;
    let whole = ready(Ok::<_, Infallible>(Bytes::copy_from_slice(body)));
    let mut parts = Multipart::new(stream::once(whole), boundary);
    let reading = async {
        let mut fields = Vec::new();
        while let Some(part) = parts.next_field().await.map_err(|_| MALFORMED)? {
            if fields.len() >= fields_max {
                return Err(TOO_MANY);
            }
            let name = part.name().ok_or(MALFORMED)?.to_owned();
            let disposition = part.headers().get("content-disposition");
            let lossy = || lossy_filename(disposition?.as_bytes());
            let file = part.file_name().map(str::to_owned).or_else(lossy).map(|filename| {
                let content_type = part.content_type().map(ToString::to_string);
                let unknown = || "application/octet-stream".to_owned();
                (filename, content_type.unwrap_or_else(unknown))
            });
            let bytes = part.bytes().await.map_err(|_| MALFORMED)?;
            let value = match file {
                // What a browser sends where no file was chosen.
                Some((filename, _)) if filename.is_empty() && bytes.is_empty() => continue,
                Some((filename, content_type)) => {
                    Value::from_object(FormFile { filename, content_type, bytes: bytes.into() })
                }
                None => Value::from(std::str::from_utf8(&bytes).map_err(|_| MALFORMED)?),
            };
            fields.push((name, value));
        }
        Ok(Form::new(fields))
    };
    reading.now_or_never().unwrap_or(Err(MALFORMED))
}

/// The name of a file, where the parser tells none as it is no UTF-8: only a part without one is a
/// text, and not a file (RFC 7578 section 4.2).
fn lossy_filename(disposition: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(disposition);
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parameters = text.split(|character| {
        let (was_escaped, was_quoted) = (is_escaped, is_quoted);
        is_escaped = is_quoted && !was_escaped && character == '\\';
        is_quoted ^= character == '"' && !was_escaped;
        character == ';' && !was_quoted
    });
    let mut pairs = parameters.filter_map(|parameter| parameter.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("filename"))?;
    let value = value.trim();
    let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    Some(quoted.unwrap_or(value).replace("\\\"", "\""))
}

const CROSS_SITE: &str = "This form was sent from another site, and so it was not taken. Open the \
                          page here and send it again.";
const UNKNOWN_TYPE: &str = "A form comes as application/x-www-form-urlencoded, as \
                            multipart/form-data or as application/json.";
const PACKED: &str = "A form comes as it is, without a Content-Encoding.";
const TOO_MANY: Refusal = (413, "The form has more fields than are accepted.");
const MALFORMED: Refusal = (400, "The form cannot be read.");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TYPE: &[u8] = b"multipart/form-data; boundary=b";

    #[test]
    fn what_is_cut_off_is_no_form() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--b\r\n\
            Content-Disposition: form-data; name=\"f\"; filename=\"f.txt\"\r\n\r\nyy\r\n--b--";
        assert!(read_parts(body, TYPE, 2).is_ok());
        assert_eq!(read_parts(body, TYPE, 1).unwrap_err().0, 413);
        for end in 0..body.len() {
            assert_eq!(read_parts(&body[..end], TYPE, 2).unwrap_err().0, 400, "{end}");
        }
        for wrong in ["multipart/form-data", "multipart/form-data; boundary=\"\"", "x"] {
            assert!(read_parts(body, wrong.as_bytes(), 2).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_whose_name_is_no_utf8_is_a_file() {
        let named = |parameters: &[u8]| {
            let body: [&[u8]; 3] =
                [b"--b\r\nContent-Disposition: form-data; ", parameters, b"\r\n\r\nx\r\n--b--\r\n"];
            let form = read_parts(&body.concat(), TYPE, 2).unwrap();
            let shown = format!("{form:?}");
            (shown.contains("caf\u{fffd}"), shown.contains("content_type"))
        };
        assert_eq!(named(b"name=\"f\"; filename=\"caf\xe9.txt\""), (true, true));
        assert_eq!(named(b"name=f; FileName = caf\xe9.txt"), (true, true));
        assert_eq!(named(b"name=\"f\""), (false, false));
        let name = br#"form-data; name="\";filename=x"; filename="a\";b\xe9""#;
        assert_eq!(lossy_filename(name).as_deref(), Some("a\";b\\xe9"));
        assert_eq!(lossy_filename(b"form-data; filename"), None);
        assert_eq!(lossy_filename(b"form-data; name=\"a; filename=b\"; other=\"\xe9\""), None);
        assert_eq!(
            lossy_filename(b"form-data; filename*=x; filename=\"\xff").as_deref(),
            Some("\"\u{fffd}")
        );
    }

    proptest! {
        #[test]
        fn no_body_panics(
            pieces in prop::collection::vec(
                prop_oneof![
                    Just("--b".to_owned()), Just("\r\n".to_owned()), Just("--".to_owned()),
                    Just("Content-Disposition: form-data; name=\"a\"".to_owned()),
                    Just("; filename=\"".to_owned()), Just("\r\n\r\n".to_owned()), "\\PC{0,3}",
                ],
                0..16,
            ),
        ) {
            let _ = read_parts(pieces.concat().as_bytes(), TYPE, 3);
        }
    }
}
