//! The second half of a page: from all that it is made of to its body, or to why there is none.

use std::time::Duration;

use crate::driver::Driver;
use crate::http::EntityTag;
use crate::limits::RENDER_SLOW;
use crate::metrics::Histogram;
use crate::site::{Context, Page, Value};

use super::fragments::Composed;
use super::notes::Notes;
use super::packing::Kept;
use super::request::Request;
use super::statics::Served;
use super::{Answer, NOT_ALLOWED, Outcome, Pages, memo};

impl<D: Driver> Pages<D> {
    pub(super) fn make(
        &self,
        request: &Request<'_>,
        outcome: Outcome<'_>,
        renders: Option<&Histogram>,
        out: &mut Vec<u8>,
        notes: Option<&Notes>,
    ) -> Answer {
        let (page, context, passed, composed) = match outcome {
            Outcome::Ready(page, context, passed, composed) => (page, context, passed, composed),
            Outcome::Methods(methods) => return Answer::methods(methods),
            Outcome::NotAllowed(methods) => {
                let path = String::from_utf8_lossy(request.path);
                let answer = self.error_page(405, NOT_ALLOWED, &path, "", None, out);
                return Answer { allow: Some(methods), ..answer };
            }
            Outcome::Refused(status, reason) => {
                let path = String::from_utf8_lossy(request.path);
                return self.error_page(status, reason, &path, "", None, out);
            }
            Outcome::Failed(error) => return self.fail(request, &error, out, notes),
            Outcome::Served(served) => return self.press_static(request, *served, out, notes),
            // It has been waited for, and is served by now.
            Outcome::Static(_) => return self.press_static(request, Served::Missing, out, notes),
        };
        let mut answer = Answer { passed, ..self.unpacked(page) };
        if page.says() {
            match self.say(request, page, &context, &mut answer) {
                Ok(true) => {}
                Ok(false) => return answer,
                Err(error) => return self.fail(request, &error, out, notes),
            }
        }
        self.body(request, (page, &context, composed), answer, renders, out, notes)
    }

    /// Makes the body of an answer, unless the visitor has it, or it was made before.
    fn body(
        &self,
        request: &Request<'_>,
        (page, context, mut composed): (&Page, &Context, Option<Box<Composed>>),
        mut answer: Answer,
        renders: Option<&Histogram>,
        out: &mut Vec<u8>,
        notes: Option<&Notes>,
    ) -> Answer {
        let texts = composed.as_mut().map(|composed| composed.hand_over(&mut answer));
        let texts = texts.unwrap_or_default();
        // Conditions are about the page as it is, not about a page that says it is another (RFC
        // 9110 section 13.2.1).
        let is_usual = answer.status == 200;
        let inputs = is_usual.then(|| self.inputs(request, page, context, &texts)).flatten();
        let etag = inputs.as_ref().map(|inputs| EntityTag::new(inputs.digest));
        let chosen = etag.map(|etag| self.chosen(request, etag));
        if is_usual && request.wants_another(chosen) {
            let path = String::from_utf8_lossy(request.path);
            let message = "This page is not (any more) what was asked for.";
            return self.error_page(412, message, &path, "", None, out);
        }
        answer.etag = etag;
        let has_it = is_usual && request.has(chosen);
        if has_it && etag.is_some() {
            return Answer { etag: chosen, ..answer }.not_modified();
        }
        if let Some(made) = inputs.as_ref().and_then(|inputs| self.memo.get(inputs)) {
            self.client.metrics().pages_remembered.add(1);
            out.extend_from_slice(&made.body);
            answer.kept = Some(Kept(made));
            return answer;
        }
        let start = D::now_exactly();
        let before = out.len();
        let (rendered, before_that) = match &mut composed {
            None => (page.render(context, out), Duration::ZERO),
            Some(composed) => (composed.write(page, context, out), composed.took),
        };
        let took = before_that + D::now_exactly().saturating_duration_since(start);
        if let Some(renders) = renders {
            renders.record(took);
        }
        if let Some(notes) = notes {
            notes.rendered(out.len() - before, took);
        }
        if took >= RENDER_SLOW {
            self.note_slow_render(page, took);
        }
        if let Err(error) = rendered {
            return self.fail(request, &error, out, notes);
        }
        if let Some(inputs) = &inputs {
            let made = self.memo.put(inputs, out.get(before..).unwrap_or_default());
            answer.kept = made.map(Kept);
        }
        // Without a tag it takes the page to know that there is one.
        if has_it {
            out.truncate(before);
            return answer.not_modified();
        }
        answer
    }

    /// All that a page is made of, if that is enough to know whether it is the same as another.
    pub(super) fn inputs<'a>(
        &self,
        request: &Request<'a>,
        page: &Page,
        context: &'a Context,
        fragments: &'a [(String, Value)],
    ) -> Option<memo::Inputs<'a>> {
        if !request.method.is_safe() {
            return None;
        }
        let version = page.version().filter(|_| self.memo.is_on())?;
        let mut inputs = memo::Inputs::new(version);
        inputs.push(request.path);
        inputs.push(if page.uses().query { request.query } else { b"" });
        for (number, node) in page.nodes().iter().enumerate() {
            if node.fetch().is_some()
                && !context.fetched(number)?.visit_texts(&mut |text| inputs.push(text))
            {
                return None;
            }
        }
        for (target, text) in fragments {
            inputs.push(target.as_bytes());
            inputs.push(text.as_str().unwrap_or_default().as_bytes());
        }
        Some(inputs)
    }
}
