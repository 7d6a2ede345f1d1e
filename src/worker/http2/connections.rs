//! What the HTTP/2 connections of a worker have in common: that they are told when it drains, and
//! what is in all of their answers.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::task::Waker;

use ::http::header::{HeaderName, HeaderValue};

use crate::worker::service::Service;

use super::head;

/// The HTTP/2 connections of a worker.
#[derive(Default)]
pub(in crate::worker) struct Connections {
    /// Each that is open, and whom to wake for it.
    open: RefCell<BTreeMap<u64, Option<Waker>>>,
    entered: Cell<u64>,
    page_fields: OnceCell<Vec<(HeaderName, HeaderValue)>>,
    secure_fields: OnceCell<Vec<(HeaderName, HeaderValue)>>,
}

impl Connections {
    /// Whether there are none.
    pub(in crate::worker) fn is_empty(&self) -> bool {
        self.open.borrow().is_empty()
    }

    /// Has each look whether the worker drains.
    pub(in crate::worker) fn wake_all(&self) {
        let wakers: Vec<Waker> = self.open.borrow().values().flatten().cloned().collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// One more, until what is returned is dropped.
    pub(super) fn enter(&self) -> Presence<'_> {
        let number = self.entered.get();
        self.entered.set(number.wrapping_add(1));
        self.open.borrow_mut().insert(number, None);
        Presence { connections: self, number }
    }

    /// The fields of all responses that are HTML.
    pub(super) fn page_fields(&self, service: &impl Service) -> &[(HeaderName, HeaderValue)] {
        self.page_fields.get_or_init(|| head::fields(service.page_fields()).collect())
    }

    /// The fields of all responses on connections with TLS.
    pub(super) fn secure_fields(&self, service: &impl Service) -> &[(HeaderName, HeaderValue)] {
        self.secure_fields.get_or_init(|| head::fields(service.secure_fields()).collect())
    }
}

/// One connection among them.
pub(super) struct Presence<'a> {
    connections: &'a Connections,
    number: u64,
}

impl Presence<'_> {
    /// Says which task is to be woken.
    pub(super) fn set_waker(&self, waker: &Waker) {
        if let Some(place) = self.connections.open.borrow_mut().get_mut(&self.number)
            && !place.as_ref().is_some_and(|known| known.will_wake(waker))
        {
            *place = Some(waker.clone());
        }
    }
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        let waker = self.connections.open.borrow_mut().remove(&self.number);
        drop(waker);
    }
}
