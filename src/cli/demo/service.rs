//! The demo's API as a service: the same connections as any site's, an answer after a delay.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::driver::Driver;
use crate::driver::timers::Timers;
use crate::http::Method;
use crate::metrics::WorkerMetrics;
use crate::worker::thread::Recipe;
use crate::worker::{Request, Response, Service};

use super::api::Api;
use super::talk::{Talk, Words};

/// Makes the API's service.
pub(super) struct ApiRecipe {
    api: Arc<Api>,
    delay: Duration,
}

impl ApiRecipe {
    pub(super) fn new(api: Api, delay: Duration) -> Self {
        Self { api: Arc::new(api), delay }
    }
}

impl Recipe for ApiRecipe {
    type Service<D: Driver> = ApiService<D>;

    fn make<D: Driver>(
        &self,
        timers: &Timers<D>,
        _: &Arc<WorkerMetrics>,
        _: usize,
    ) -> Result<ApiService<D>, String> {
        let (api, talk) = (Arc::clone(&self.api), RefCell::default());
        Ok(ApiService { api, talk, delay: self.delay, timers: timers.clone() })
    }
}

/// Answers from the demo's data.
pub(super) struct ApiService<D: Driver> {
    api: Arc<Api>,
    /// What was said. It is this worker's own; the demo's API has one.
    talk: RefCell<Talk>,
    delay: Duration,
    timers: Timers<D>,
}

impl<D: Driver> Service for ApiService<D> {
    const WAKERS_STAY: bool = true;

    fn wants_body(&self, request: &Request<'_>) -> bool {
        request.head.method == Method::Post
    }

    async fn respond(&self, request: Request<'_>, response: &mut Response) {
        if !self.delay.is_zero() {
            self.timers.sleep(self.delay).await;
        }
        let path = std::str::from_utf8(request.span(request.head.path)).unwrap_or("/");
        response.status = match request.head.method {
            Method::Get | Method::Head => {
                let query = request.head.query.map_or(&b""[..], |query| request.span(query));
                self.api.answer(path, query, &self.talk.borrow(), response.body().buffer())
            }
            Method::Post => {
                let content_type = request.head.headers.get(request.bytes, b"content-type");
                let Some(words) = Words::read(content_type.unwrap_or_default(), request.body)
                else {
                    return self.refuse(
                        400,
                        "neither a form nor JSON of text and author",
                        response,
                    );
                };
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let talk = &mut self.talk.borrow_mut();
                self.api.comment(path, &words, now.as_secs(), talk, response.body().buffer())
            }
            _ => return self.refuse(405, "this API is for reading, and for comments", response),
        };
        response.content_type = "application/json; charset=utf-8";
    }

    fn refuse(&self, status: u16, reason: &str, response: &mut Response) {
        response.status = status;
        response.content_type = "text/plain; charset=utf-8";
        response.body().extend_from_slice(reason.as_bytes());
    }
}
