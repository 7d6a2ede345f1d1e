//! Fetches of a site that something stands before: answers that were recorded, or a recorder.

use crate::driver::Driver;
use crate::http::{Limits, Method, response};
use crate::site::{Answers, Record, Recorder, StandIn};

use super::client::{Inner, Request};
use super::connection::Response;
use super::error::{FetchError, NotRecorded};

impl<D: Driver> Inner<D> {
    /// What stands before an upstream, if anything does.
    pub(super) fn stand_in(&self, upstream: usize) -> Option<&StandIn> {
        self.origins.get(upstream)?.plan.stand_in.as_ref()
    }

    /// Fetches through it.
    pub(super) async fn through(
        &self,
        stand_in: &StandIn,
        request: &Request<'_>,
    ) -> Result<Response, FetchError> {
        match stand_in {
            StandIn::Answers(answers) => self.recall(answers, request),
            StandIn::Recorder(recorder) => {
                let outcome = self.fetch(request).await;
                if let Ok(response) = &outcome {
                    self.note(recorder, request, response);
                }
                outcome
            }
        }
    }

    fn recall(&self, answers: &Answers, request: &Request<'_>) -> Result<Response, FetchError> {
        let upstream = self.origins.get(request.place()).map_or("", |origin| &origin.plan.name);
        // As in the files that they are read from: of a GET the target alone.
        let named = || [request.method.as_str().as_bytes(), b" ", request.target].concat();
        let recorded = match request.method {
            Method::Get => answers.get(upstream, request.target),
            _ => answers.get(upstream, &named()),
        };
        let Some(recorded) = recorded else {
            return Err(FetchError::NotRecorded(Box::new(NotRecorded {
                upstream: upstream.to_owned(),
                target: match request.method {
                    Method::Get => String::from_utf8_lossy(request.target).into_owned(),
                    _ => String::from_utf8_lossy(&named()).into_owned(),
                },
                from: answers.from().to_owned(),
            })));
        };
        let mut buffer = self.responses.take();
        buffer.clear();
        buffer.extend_from_slice(recorded);
        let head = response::parse(&buffer, &Limits::response(), request.method == Method::Head);
        let head = head.map_err(FetchError::Protocol)?;
        let Some(head) = head else { return Err(FetchError::Closed(super::error::Phase::Head)) };
        let body = head.length.min(buffer.len())..buffer.len();
        Ok(Response { head, buffer, body, reused: false })
    }

    fn note(&self, recorder: &Recorder, request: &Request<'_>, response: &Response) {
        let status = response.head.status;
        // An answer that says that one of before is still right is not one to anybody else, and
        // neither is a part. What changes something is not recorded: its answer is to that body.
        if matches!(status, 206 | 304) || request.method != Method::Get {
            return;
        }
        let Some(origin) = self.origins.get(request.place()) else { return };
        let fields = response.head.headers.iter(&response.buffer);
        recorder.note(Record {
            upstream: origin.plan.name.clone(),
            target: request.target.to_owned(),
            status,
            fields: fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            body: response.body().to_owned(),
        });
    }
}
