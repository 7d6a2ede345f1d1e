//! What a server counts, and how it is told: numbers that one worker writes and any thread may
//! read, without a lock and without an atomic read-modify-write.
//!
//! Names, units and meanings stand in one table with the fields (`worker`, `page`, `upstream`);
//! `exposition` shows them to Prometheus, `snapshot` to whoever else asks.

mod counter;
pub mod exposition;
pub mod family;
mod histogram;
mod page;
mod sets;
pub mod snapshot;
mod upstream;
mod worker;

pub use counter::{Counter, Statuses};
pub use histogram::Histogram;
pub use page::PageMetrics;
pub use sets::{OTHERS, Sets};
pub use upstream::{Breaker, UpstreamMetrics};
pub use worker::WorkerMetrics;
