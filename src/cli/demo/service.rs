//! The demo's API as a service: the same connections as any site's, an answer after a delay.

use std::sync::Arc;
use std::time::Duration;

use crate::driver::Driver;
use crate::driver::timers::Timers;
use crate::http::Method;
use crate::metrics::WorkerMetrics;
use crate::worker::thread::Recipe;
use crate::worker::{Request, Response, Service};

use super::api::Api;

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
        Ok(ApiService { api: Arc::clone(&self.api), delay: self.delay, timers: timers.clone() })
    }
}

/// Answers from the demo's data.
pub(super) struct ApiService<D: Driver> {
    api: Arc<Api>,
    delay: Duration,
    timers: Timers<D>,
}

impl<D: Driver> Service for ApiService<D> {
    fn wants_body(&self, _: &Request<'_>) -> bool {
        false
    }

    async fn respond(&self, request: Request<'_>, response: &mut Response) {
        if !matches!(request.head.method, Method::Get | Method::Head) {
            return self.refuse(405, "this API is for reading", response);
        }
        if !self.delay.is_zero() {
            self.timers.sleep(self.delay).await;
        }
        let path = std::str::from_utf8(request.span(request.head.path)).unwrap_or("/");
        response.status = self.api.answer(path, response.body());
        response.content_type = "application/json; charset=utf-8".into();
    }

    fn refuse(&self, status: u16, reason: &str, response: &mut Response) {
        response.status = status;
        response.content_type = "text/plain; charset=utf-8".into();
        response.body().extend_from_slice(reason.as_bytes());
    }
}
