//! Wakers that are numbers: to clone one, or to drop it, costs nothing.
#![expect(
    unsafe_code,
    reason = "the standard library takes a waker that is not reference-counted \
                                 only by its raw parts"
)]

use std::ptr;
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::tasks;

/// A waker for that.
pub(super) fn waker(number: u64) -> Waker {
    // SAFETY: the data that the functions of the table get is a number, and no memory. Those of a
    // waker may be called on any thread, and `wake` looks on which one it is.
    unsafe { Waker::from_raw(raw(ptr::without_provenance(number as usize))) }
}

fn raw(data: *const ()) -> RawWaker {
    RawWaker::new(data, &FUNCTIONS)
}

fn wake(data: *const ()) {
    tasks::wake(data.addr() as u64);
}

static FUNCTIONS: RawWakerVTable = RawWakerVTable::new(raw, wake, wake, |_| ());

const _: () = assert!(size_of::<usize>() == size_of::<u64>(), "a number is as large as a pointer");
