//! What is recorded of the requests of one connection, and the end of those without their body.

use std::time::Instant;

use crate::driver::Driver;
use crate::http::RequestHead;
use crate::worker::access::{Answered, Asked, first_line};
use crate::worker::exchange::{Outcome, Stop};
use crate::worker::service::Service;

use super::{Conversation, Next};

impl<D: Driver, S: Service> Conversation<'_, D, S> {
    /// Ends a request whose body did not come as it should.
    pub(super) async fn go_without_body(
        &mut self,
        (head, number): (&RequestHead, u64),
        begun: Option<Instant>,
        stop: Stop,
        outcome: Outcome<'_>,
    ) -> Next {
        match stop {
            Stop::Gone => {
                self.record((head, number), begun, Answered::default());
                Next::Close
            }
            Stop::Refused(status, reason) => {
                let next = self.refuse(status, reason, begun, Some((head, number))).await;
                outcome.end(matches!(next, Next::Linger), status);
                next
            }
        }
    }

    /// Records a request whose head has come.
    pub(super) fn record(
        &self,
        (head, number): (&RequestHead, u64),
        begun: Option<Instant>,
        answered: Answered<'_>,
    ) {
        self.worker.record(Asked::Request(&self.request(head, number), false), begun, answered);
    }

    /// What has come, where that was no request.
    pub(super) fn asked_nothing(&self) -> Asked<'_> {
        let secure = self.writer.is_secure();
        Asked::Line(first_line(&self.buffer), self.peer, secure, false)
    }
}
