//! Which path of the admin listener is answered by what.

use std::fmt;

use super::exchange::{AdminRequest, AdminResponse};
use crate::http::Method;

/// Paths and what answers them. Paths are literal: there are few.
#[derive(Default)]
pub struct Routes(Vec<Route>);

/// What answers.
type Handler = Box<dyn Fn(&AdminRequest<'_>) -> AdminResponse + Send + Sync>;

struct Route {
    method: Method,
    path: &'static str,
    /// Whether anybody may ask who gets here.
    open: bool,
    handler: Handler,
}

/// What a request leads to.
pub(super) enum Found<'a> {
    /// To this; `open` where no token is asked for.
    Route { open: bool, handler: &'a Handler },
    /// There is something, but for this method.
    Other { allow: &'static str },
    /// There is nothing.
    Nothing,
}

impl Routes {
    /// Answers GET and HEAD, for whoever knows the token.
    #[must_use]
    pub fn get(
        self,
        path: &'static str,
        handler: impl Fn(&AdminRequest<'_>) -> AdminResponse + Send + Sync + 'static,
    ) -> Self {
        self.add(Route { method: Method::Get, path, open: false, handler: Box::new(handler) })
    }

    /// Answers POST, for whoever knows the token, and for no page of another site.
    #[must_use]
    pub fn post(
        self,
        path: &'static str,
        handler: impl Fn(&AdminRequest<'_>) -> AdminResponse + Send + Sync + 'static,
    ) -> Self {
        self.add(Route { method: Method::Post, path, open: false, handler: Box::new(handler) })
    }

    /// Answers GET and HEAD, for anybody: load balancers know no token.
    #[must_use]
    pub fn open(
        self,
        path: &'static str,
        handler: impl Fn(&AdminRequest<'_>) -> AdminResponse + Send + Sync + 'static,
    ) -> Self {
        self.add(Route { method: Method::Get, path, open: true, handler: Box::new(handler) })
    }

    /// The same with all that others have.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    fn add(mut self, route: Route) -> Self {
        self.0.push(route);
        self
    }

    pub(super) fn find(&self, request: &AdminRequest<'_>) -> Found<'_> {
        let mut here = self.0.iter().filter(|route| route.path == request.path());
        let method = request.method();
        let Some(first) = here.next() else { return Found::Nothing };
        let fits = |route: &&Route| route.method == method;
        match Some(first).filter(fits).or_else(|| here.find(fits)) {
            Some(Route { open, handler, .. }) => Found::Route { open: *open, handler },
            None if first.method == Method::Post => Found::Other { allow: "POST" },
            None => Found::Other { allow: "GET, HEAD" },
        }
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|route| route.path)).finish()
    }
}
