//! What a response of an upstream means to a page.

use std::time::Duration;

use crate::error::{PageError, PageErrorKind};
use crate::http::{self, Method};
use crate::limits::{NOT_JSON_SHOWN_BYTES, PASSED_FIELDS_BYTES_MAX};
use crate::press::{self, Data, Value};
use crate::site::Asks;
use crate::upstream::{FetchError, Response};

/// The value of a response.
///
/// # Errors
/// What it means that it has none.
pub(super) fn understand(response: &Response) -> Result<Data, PageError> {
    match response.head.status {
        204 => Ok(Data::Value(Value::from(()))),
        // Nobody asked for a range: what came may look whole, and is not (RFC 9110 section 15.3.7).
        206 => Err(PageError::new(PageErrorKind::BadGateway, "the upstream answered 206: a part")),
        200..=299 => press::parse(response.body()).map_err(|error| {
            let what = match error.is_too_deep() {
                true => "the response cannot be read".to_owned(),
                false => not_json("the response", response),
            };
            PageError::new(PageErrorKind::BadGateway, what).because(error)
        }),
        status @ (404 | 410) => Err(gone(status)),
        // RFC 9110 section 15.4.5.
        304 => {
            let message = "the upstream answered 304 (Not Modified), which is for whoever has the \
                           answer already, and nobody here has";
            Err(PageError::new(PageErrorKind::BadGateway, message))
        }
        status @ 300..=399 => {
            let message = format!("the upstream answered {status}: redirects are not followed");
            Err(PageError::new(PageErrorKind::BadGateway, message))
        }
        status => {
            let message = format!("the upstream answered {status}");
            Err(PageError::new(PageErrorKind::BadGateway, message))
        }
    }
}

/// The value of a response to a fetch that changes something, or that accepts more than 2xx: there
/// an answer without a body is none.
pub(super) fn understand_asked(response: &Response, asks: &Asks) -> Result<Data, PageError> {
    let status = response.head.status;
    let is_accepted = asks.accept.contains(&status);
    let is_success = (200..=299).contains(&status);
    if response.body().is_empty() && (is_accepted || is_success && asks.method != Method::Get) {
        return Ok(Data::Value(Value::from(())));
    }
    if !is_accepted {
        return understand(response);
    }
    press::parse(response.body()).map_err(|error| {
        let answer = format!("the answer with status {status}");
        let what = match error.is_too_deep() {
            true => format!("{answer} cannot be read"),
            false => not_json(&answer, response),
        };
        PageError::new(PageErrorKind::BadGateway, what).because(error)
    })
}

/// What an answer that is not JSON is, as far as it says: so is a page that tells of maintenance
/// known from a text that was cut.
fn not_json(answer: &str, response: &Response) -> String {
    let field = |name: &[u8]| response.head.headers.get(&response.buffer, name);
    if let Some(coding) = field(b"content-encoding") {
        let coding = String::from_utf8_lossy(coding);
        return format!("{answer} is not JSON, but packed ({coding}), which nobody asked for");
    }
    if response.body().is_empty() {
        return format!("{answer} is not JSON, but empty");
    }
    let kind = match field(b"content-type") {
        Some(kind) => format!("Content-Type {}", beginning(kind)),
        None => "without a Content-Type".to_owned(),
    };
    format!("{answer} is not JSON ({kind}), and begins with {}", beginning(response.body()))
}

/// The first bytes of a text from elsewhere, in quotes, as they can stand in a line.
fn beginning(bytes: &[u8]) -> String {
    let shown = bytes.get(..NOT_JSON_SHOWN_BYTES).unwrap_or(bytes);
    // A character that is cut in two is none of them.
    let shown = match std::str::from_utf8(shown) {
        Err(error) if error.error_len().is_none() => {
            shown.get(..error.valid_up_to()).unwrap_or_default()
        }
        _ => shown,
    };
    let more = if shown.len() < bytes.len() { "..." } else { "" };
    format!("\"{}\"{more}", String::from_utf8_lossy(shown).escape_debug())
}

/// The failure that an answer of 404 or 410 is.
pub(super) fn gone(status: u16) -> PageError {
    let message = format!("the upstream answered {status}");
    PageError::new(PageErrorKind::UpstreamGone(status), message)
}

/// What a fetch without a whole response means to the visitor.
pub(super) fn failed(error: FetchError) -> PageError {
    let kind = match &error {
        FetchError::Timeout(..) => PageErrorKind::Timeout,
        error if error.is_shed() => PageErrorKind::Overload,
        _ => PageErrorKind::BadGateway,
    };
    let wait = match &error {
        FetchError::Open(wait) => *wait,
        _ => Duration::ZERO,
    };
    PageError::new(kind, "no whole response").over_after(wait).because(error)
}

/// Appends those field lines of a response that are `wanted`. Those that the upstream meant for
/// this connection alone are none of them (RFC 9110 section 7.6.1).
pub(super) fn pass(
    wanted: &[String],
    response: &Response,
    passed: &mut Vec<u8>,
) -> Result<(), PageError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let headers = || response.head.headers.iter(&response.buffer);
    let options = headers().filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"));
    let options: Vec<&[u8]> = options
        .flat_map(|(_, value)| value.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .collect();
    for wanted in wanted.iter().filter(|wanted| !is_one_of(wanted.as_bytes(), &options)) {
        for (name, value) in headers() {
            if name.eq_ignore_ascii_case(wanted.as_bytes()) {
                http::push_field(passed, wanted, value).map_err(|error| {
                    let message = format!("its field {wanted} cannot be passed on");
                    PageError::new(PageErrorKind::BadGateway, message).because(error)
                })?;
            }
        }
    }
    bound_passed(passed)
}

/// Fails when there is more for the visitor than a page may pass on.
pub(super) fn bound_passed(passed: &[u8]) -> Result<(), PageError> {
    if passed.len() > PASSED_FIELDS_BYTES_MAX {
        let message = format!("its fields to pass on are over {PASSED_FIELDS_BYTES_MAX} bytes");
        return Err(PageError::new(PageErrorKind::BadGateway, message));
    }
    Ok(())
}

fn is_one_of(name: &[u8], names: &[&[u8]]) -> bool {
    names.iter().any(|other| other.eq_ignore_ascii_case(name))
}
