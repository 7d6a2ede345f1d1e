//! One fetch of a page: one upstream call, or one for each item of a list.

use futures_util::stream::{self, StreamExt};

use crate::driver::Driver;
use crate::error::{PageError, PageErrorKind};
use crate::http::{self, Method};
use crate::limits::PASSED_FIELDS_BYTES_MAX;
use crate::press::{self, Data, Value};
use crate::site::{Fetch, Node};
use crate::upstream::{self, FetchError, Response};

use super::execution::Execution;
use super::since;
use super::trace::Step;

impl<D: Driver> Execution<'_, D> {
    /// The value of a fetch: what its JSON says, or the list of what each item's says.
    pub(super) async fn fetch(&self, number: usize) -> Result<Data, PageError> {
        let node = self.page.nodes().get(number);
        let Some((node, fetch)) = node.and_then(|node| Some((node, node.fetch()?))) else {
            return Err(PageError::new(PageErrorKind::Internal, "no such fetch"));
        };
        let Some(each) = &fetch.each else {
            return self.call(node, fetch, None).await;
        };
        let items = self.page.items(node, self.context)?;
        let calls = stream::iter(items.iter().enumerate())
            .map(|(index, item)| self.call(node, fetch, Some((item, index))));
        let mut values = Vec::with_capacity(items.len());
        let mut calls = calls.buffered(each.concurrency);
        while let Some(outcome) = calls.next().await {
            match outcome {
                Ok(value) => values.push(value),
                Err(error) if fetch.optional && error.kind() != PageErrorKind::BadRequest => {
                    values.push(Data::Value(Value::from(())));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Data::List(values))
    }

    async fn call(
        &self,
        node: &Node,
        fetch: &Fetch,
        item: Option<(&Value, usize)>,
    ) -> Result<Data, PageError> {
        let plan = self.site.upstreams().get(fetch.upstream);
        let (mut target, mut headers) = (self.client.buffer(), self.client.buffer());
        self.page.fetch_request(node, self.context, item, &mut target, &mut headers)?;
        self.ties.push(fetch.ties, &mut headers);
        let start = D::now();
        let deadline = self.deadline.min(start + fetch.deadline);
        let request = upstream::Request {
            upstream: fetch.upstream,
            method: Method::Get,
            target: &target,
            headers: &headers,
            deadline,
        };
        let outcome = self.client.fetch(request).await;
        let status = outcome.as_ref().ok().map(|response| response.head.status);
        let bytes = outcome.as_ref().map_or(0, |response| response.body.len());
        let reused = outcome.as_ref().is_ok_and(|response| response.reused);
        let value = outcome.map_err(failed).and_then(|response| {
            let value = understand(&response).and_then(|value| {
                self.pass(fetch, &response)?;
                Ok(value)
            });
            self.client.recycle(response);
            value
        });
        let value = value.map_err(|error| {
            let name = name(node, item);
            let upstream = plan.map_or("?", |plan| plan.name.as_str());
            error.within(format!(
                "fetch `{name}` from `{upstream}` failed (GET {})",
                String::from_utf8_lossy(&target)
            ))
        });
        if let Some(trace) = self.trace {
            trace.borrow_mut().steps.push(Step {
                name: name(node, item),
                url: plan.map_or_else(String::new, |plan| {
                    format!("http://{}{}", plan.authority, String::from_utf8_lossy(&target))
                }),
                status,
                bytes,
                begun: start.saturating_duration_since(self.start),
                took: since::<D>(start),
                reused,
                failure: value.as_ref().err().map(PageError::chain).unwrap_or_default(),
            });
        }
        self.client.give_back([target, headers]);
        value
    }
}

impl<D: Driver> Execution<'_, D> {
    /// Keeps the fields of a response that its fetch names, for the visitor. Those that the
    /// upstream meant for this connection alone are none of them (RFC 9110 section 7.6.1).
    fn pass(&self, fetch: &Fetch, response: &Response) -> Result<(), PageError> {
        if fetch.pass.is_empty() {
            return Ok(());
        }
        let headers = || response.head.headers.iter(&response.buffer);
        let options = headers().filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"));
        let options: Vec<&[u8]> = options
            .flat_map(|(_, value)| value.split(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii)
            .collect();
        let mut passed = self.passed.borrow_mut();
        for wanted in fetch.pass.iter().filter(|wanted| !is_one_of(wanted.as_bytes(), &options)) {
            for (name, value) in headers() {
                if name.eq_ignore_ascii_case(wanted.as_bytes()) {
                    http::push_field(&mut passed, wanted, value).map_err(|error| {
                        let message = format!("its field {wanted} cannot be passed on");
                        PageError::new(PageErrorKind::BadGateway, message).because(error)
                    })?;
                }
            }
        }
        if passed.len() > PASSED_FIELDS_BYTES_MAX {
            let message = format!("its fields to pass on are over {PASSED_FIELDS_BYTES_MAX} bytes");
            return Err(PageError::new(PageErrorKind::BadGateway, message));
        }
        Ok(())
    }
}

fn is_one_of(name: &[u8], names: &[&[u8]]) -> bool {
    names.iter().any(|other| other.eq_ignore_ascii_case(name))
}

fn name(node: &Node, item: Option<(&Value, usize)>) -> String {
    match item {
        None => node.name.clone(),
        Some((_, index)) => format!("{}[{index}]", node.name),
    }
}

/// The value of a response.
fn understand(response: &Response) -> Result<Data, PageError> {
    match response.head.status {
        204 => Ok(Data::Value(Value::from(()))),
        // Nobody asked for a range: what came may look whole, and is not (RFC 9110 section 15.3.7).
        206 => Err(PageError::new(PageErrorKind::BadGateway, "the upstream answered 206: a part")),
        200..=299 => press::parse(response.body()).map_err(|error| {
            PageError::new(PageErrorKind::BadGateway, "the response is not JSON").because(error)
        }),
        status @ (404 | 410) => {
            let message = format!("the upstream answered {status}");
            Err(PageError::new(PageErrorKind::UpstreamGone(status), message))
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

/// What a fetch without a whole response means to the visitor.
fn failed(error: FetchError) -> PageError {
    let kind = match &error {
        FetchError::Timeout(..) => PageErrorKind::Timeout,
        error if error.is_shed() => PageErrorKind::Overload,
        _ => PageErrorKind::BadGateway,
    };
    PageError::new(kind, "no whole response").because(error)
}
