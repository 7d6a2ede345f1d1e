//! What the HTTP/2 connections of a worker have in common: that they are told when it drains, and
//! what is in all of their answers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::Waker;

use ::http::header::{HeaderName, HeaderValue};

use crate::worker::service::Service;

use super::head;

/// Fields that go with many answers.
pub(super) type Fields = Rc<[(HeaderName, HeaderValue)]>;

/// The HTTP/2 connections of a worker.
#[derive(Default)]
pub(in crate::worker) struct Connections {
    /// Each that is open, and whom to wake for it.
    open: RefCell<BTreeMap<u64, Option<Waker>>>,
    entered: Cell<u64>,
    page_fields: RefCell<Option<Fields>>,
    secure_fields: RefCell<Option<Fields>>,
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
    pub(super) fn page_fields(&self, service: &impl Service) -> Fields {
        let mut fields = self.page_fields.borrow_mut();
        let made = || head::fields(service.page_fields().as_bytes()).collect();
        Rc::clone(fields.get_or_insert_with(made))
    }

    /// The fields of all responses on connections with TLS.
    pub(super) fn secure_fields(&self, service: &impl Service) -> Fields {
        let mut fields = self.secure_fields.borrow_mut();
        let made = || head::fields(service.secure_fields().as_bytes()).collect();
        Rc::clone(fields.get_or_insert_with(made))
    }

    /// Asks the service anew for its fields: it is another.
    pub(in crate::worker) fn forget_fields(&self) {
        self.page_fields.take();
        self.secure_fields.take();
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
