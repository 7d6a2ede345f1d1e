//! What a page answers beside its body, compiled: its status, where it sends visitors, its fields,
//! its cookies, and what it puts into the session.

use super::cookies::{CookieShape, TooLong};
use super::session::{SessionPlan, SessionValues};
use crate::error::{PageError, PageErrorKind};
use crate::http::line_name;
use crate::limits::{ANSWER_FIELDS_BYTES_MAX, COOKIE_BYTES_MAX};
use crate::press::{
    Context, ExpressionId, FieldTemplate, LocationTemplate, Press, TextTemplate, Value,
};
use std::sync::Arc;

/// What a page answers beside its body.
#[derive(Debug, Default)]
pub(super) struct AnswerPlan {
    pub(super) status: Option<TextTemplate>,
    pub(super) redirect: Option<(LocationTemplate, u16)>,
    /// Whether there is a page where there is no redirect.
    pub(super) has_template: bool,
    /// Field lines that are always the same.
    pub(super) constant: Vec<u8>,
    pub(super) headers: Vec<FieldTemplate>,
    pub(super) cookies: Vec<CookiePlan>,
    pub(super) session: Vec<(String, TextTemplate)>,
    pub(super) end_session: Option<ExpressionId>,
    /// Where its session is, if it uses one.
    pub(super) sessions: Option<Arc<SessionPlan>>,
}

/// A cookie that a page sets.
#[derive(Debug)]
pub(super) struct CookiePlan {
    pub(super) shape: CookieShape,
    pub(super) value: Option<TextTemplate>,
    pub(super) delete: Option<ExpressionId>,
}

/// What has to be known of a request for it.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// Whether it came to this machine's loopback, without TLS.
    pub is_plain_loopback: bool,
    /// When it came, in seconds since 1970.
    pub now: i64,
}

/// What a page says beside its body.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its status.
    pub status: u16,
    /// Whether its template makes the body; there is none otherwise.
    pub has_body: bool,
    /// Its field lines.
    pub lines: Vec<u8>,
    /// Whether these say who may keep it, and for how long.
    pub says_caching: bool,
}

impl AnswerPlan {
    /// Whether it says anything.
    pub(super) fn is_some(&self) -> bool {
        self.status.is_some()
            || self.redirect.is_some()
            || !self.constant.is_empty()
            || !self.headers.is_empty()
            || !self.cookies.is_empty()
            || !self.session.is_empty()
            || self.end_session.is_some()
            || self.sessions.is_some()
    }

    /// What it says to one request, once all of its context is there.
    pub(super) fn say(
        &self,
        press: &Press,
        context: &Context,
        asker: Asker,
    ) -> Result<Said, PageError> {
        let root = context.root();
        let mut said =
            Said { status: 200, has_body: true, lines: self.constant.clone(), ..Said::default() };
        for field in &self.headers {
            field.say(press, &root, &mut said.lines)?;
        }
        let own = said.lines.len();
        for cookie in &self.cookies {
            cookie.write(press, &root, asker, &mut said.lines)?;
        }
        self.write_session(press, context, asker, &mut said.lines)?;
        // What is for one visitor is not for a cache that others share (RFC 9111 section 5.2.2.7).
        let is_private = self.sessions.is_some() || said.lines.len() > own;
        said.says_caching = has_line(&said.lines, &["cache-control"]);
        if is_private && !said.says_caching {
            keep_private(&mut said.lines);
            said.says_caching = true;
        }
        match self.location(press, &root)? {
            Some((location, status)) => {
                for piece in ["Location: ", &location, "\r\n"] {
                    said.lines.extend_from_slice(piece.as_bytes());
                }
                (said.status, said.has_body) = (status, false);
            }
            None => {
                said.status = self.status(press, &root)?;
                // Without content, whatever a template would make (RFC 9110 section 6.4.1).
                said.has_body = !matches!(said.status, 204 | 205 | 304);
            }
        }
        if said.lines.len() > ANSWER_FIELDS_BYTES_MAX {
            let message = format!("the page's fields are over {ANSWER_FIELDS_BYTES_MAX} bytes");
            return Err(PageError::new(PageErrorKind::Internal, message));
        }
        Ok(said)
    }

    fn location(&self, press: &Press, root: &Value) -> Result<Option<(String, u16)>, PageError> {
        let Some((to, status)) = &self.redirect else { return Ok(None) };
        match to.write(press, root)? {
            Some(location) => Ok(Some((location, *status))),
            None if self.has_template => Ok(None),
            None => Err(to.wrong("nothing, and the page has no template")),
        }
    }

    fn status(&self, press: &Press, root: &Value) -> Result<u16, PageError> {
        let Some(template) = &self.status else { return Ok(200) };
        let Some(text) = template.text(press, root)? else { return Ok(200) };
        match text.trim() {
            "" => Ok(200),
            text => match text.parse() {
                Ok(status) if is_status(status) => Ok(status),
                _ => Err(template.wrong("no status from 200 to 599")),
            },
        }
    }

    fn write_session(
        &self,
        press: &Press,
        context: &Context,
        asker: Asker,
        out: &mut Vec<u8>,
    ) -> Result<(), PageError> {
        let Some(sessions) = &self.sessions else { return Ok(()) };
        let root = context.root();
        let ends = match self.end_session {
            Some(expression) => press.evaluate(expression, &root)?.is_true(),
            None => false,
        };
        let mut values = match context.session() {
            Some(value) if !ends => to_json(value).unwrap_or_default(),
            _ => SessionValues::new(),
        };
        let mut is_new = ends;
        for (name, template) in &self.session {
            // Undefined is not none: `{{ user.id if user }}` changes nothing where there is none.
            let Some(value) = template.defined(press, &root)? else { continue };
            is_new |= !value.is_none() || values.contains_key(name);
            if value.is_none() {
                values.remove(name);
                continue;
            }
            let json = serde_json::to_value(&value);
            let json = json.map_err(|_| template.wrong("what no session can keep"))?;
            values.insert(name.clone(), json);
        }
        if !is_new {
            return Ok(());
        }
        sessions
            .write(&values, asker.now, asker.is_plain_loopback, out)
            .map_err(|message| PageError::new(PageErrorKind::Internal, message))
    }
}

impl CookiePlan {
    fn write(
        &self,
        press: &Press,
        root: &Value,
        asker: Asker,
        out: &mut Vec<u8>,
    ) -> Result<(), PageError> {
        let plain = asker.is_plain_loopback;
        if let Some(delete) = self.delete
            && press.evaluate(delete, root)?.is_true()
        {
            self.shape.delete(plain, out);
            return Ok(());
        }
        let Some(template) = &self.value else { return Ok(()) };
        let Some(text) = template.text(press, root)? else { return Ok(()) };
        self.shape.set(&text, plain, out).map_err(|TooLong(length)| {
            template.wrong(&format!("a cookie of {length} bytes, over {COOKIE_BYTES_MAX}"))
        })
    }
}

/// Whether a page may have this status: a 1xx is none, and a 206 would be a part of what was asked
/// for in parts, which nobody does here.
pub(super) fn is_status(status: u16) -> bool {
    (200..=599).contains(&status) && status != 206
}

fn to_json(value: &Value) -> Option<SessionValues> {
    match serde_json::to_value(value).ok()? {
        serde_json::Value::Object(values) => Some(values),
        _ => None,
    }
}

/// Has caches that others share keep nothing of it, whatever else the fields say.
pub(crate) fn keep_private(lines: &mut Vec<u8>) {
    forget_caching(lines);
    lines.extend_from_slice(PRIVATE);
}

/// Takes out what says who may keep it, and for how long.
pub(crate) fn forget_caching(lines: &mut Vec<u8>) {
    if has_line(lines, CACHING) {
        let others = lines.split_inclusive(|byte| *byte == b'\n');
        *lines = others.filter(|line| !is_one_of(line, CACHING)).collect::<Vec<_>>().concat();
    }
}

fn has_line(lines: &[u8], names: &[&str]) -> bool {
    lines.split(|byte| *byte == b'\n').any(|line| is_one_of(line, names))
}

/// Whether a line is of one of these fields.
fn is_one_of(line: &[u8], names: &[&str]) -> bool {
    let name = line_name(line);
    names.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
}

/// The fields that say it (RFC 9111 section 5).
const CACHING: &[&str] = &["cache-control", "expires", "pragma"];
/// Kept by the visitor's own browser alone, which asks before it shows it again.
const PRIVATE: &[u8] = b"Cache-Control: private, no-cache\r\n";
