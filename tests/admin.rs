//! The admin listener, and all that a server tells there of itself: asked over real sockets, of
//! the command as a process, and judged by Prometheus' own tools.
//!
//! Without these on the machine, those tests say that they were skipped, and pass; with
//! `RINGPRESS_REQUIRE_PROMETHEUS=1` they fail instead, so that CI cannot lose them unnoticed.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by a panic, and blocks no thread but its own"
)]

#[path = "admin/client.rs"]
mod client;
#[path = "common/command.rs"]
mod command;
#[path = "admin/exposition.rs"]
mod exposition;
#[path = "admin/listener.rs"]
mod listener;
#[expect(dead_code, reason = "other suites use more of it")]
#[path = "common/upstream.rs"]
mod upstream;
#[expect(dead_code, reason = "other suites use more of it")]
#[path = "common/visitor.rs"]
mod visitor;
