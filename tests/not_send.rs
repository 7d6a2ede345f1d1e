//! What belongs to one worker cannot leave its thread: that is what makes it free of locks.
//! Whether this compiles is the test.

use ringpress::driver::buffers::Buffers;
use ringpress::driver::sim::{Listener, ReadHalf, Sim, WriteHalf};
use ringpress::driver::timers::{Timer, Timers};
use ringpress::page::Pages;
use ringpress::upstream::{Client, Directory};
use ringpress::worker::{Orders, Worker};
use static_assertions::{assert_impl_all, assert_not_impl_any};

assert_not_impl_any!(Worker<Sim, Pages<Sim>>: Send, Sync);
assert_not_impl_any!(Pages<Sim>: Send, Sync);
assert_not_impl_any!(Client<Sim>: Send, Sync);
assert_not_impl_any!(Timers<Sim>: Send, Sync);
assert_not_impl_any!(Timer<Sim>: Send, Sync);
assert_not_impl_any!(Buffers: Send, Sync);
assert_not_impl_any!(Listener: Send, Sync);
assert_not_impl_any!(ReadHalf: Send, Sync);
assert_not_impl_any!(WriteHalf: Send, Sync);

// And what the threads do share can be.
assert_impl_all!(Orders: Send, Sync);
assert_impl_all!(Directory: Send, Sync);
assert_impl_all!(ringpress::metrics::WorkerMetrics: Send, Sync);
assert_impl_all!(ringpress::site::Site: Send, Sync);
