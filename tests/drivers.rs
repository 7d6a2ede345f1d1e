//! One suite, every driver: a real server on loopback sockets, a scripted upstream behind it, and
//! visitors that check every byte. A driver that this build or this machine lacks is named on
//! standard error as skipped.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by a panic, and blocks no thread but its own"
)]

/// Makes a test of each scenario for each driver, as `monoio::keep_alive`.
macro_rules! on_every_driver {
    ($($scenario:ident),+ $(,)?) => {
        on_every_driver!(@ monoio, Monoio, $($scenario),+);
        on_every_driver!(@ ring, Ring, $($scenario),+);
        on_every_driver!(@ epoll, Epoll, $($scenario),+);
        on_every_driver!(@ tokio_uring, TokioUring, $($scenario),+);
    };
    (@ $driver:ident, $kind:ident, $($scenario:ident),+) => {
        mod $driver {
            $(
                #[test]
                fn $scenario() {
                    let kind = ringpress::driver::kind::Kind::$kind;
                    crate::stage::run(kind, super::$scenario);
                }
            )+
        }
    };
}

#[path = "drivers/access_log.rs"]
mod access_log;
#[path = "drivers/access_log_troubles.rs"]
mod access_log_troubles;
#[path = "drivers/admission.rs"]
mod admission;
#[path = "drivers/answers.rs"]
mod answers;
#[cfg(feature = "http2")]
#[path = "drivers/browser.rs"]
mod browser;
#[path = "drivers/caching.rs"]
mod caching;
#[path = "common/certificates.rs"]
mod certificates;
#[path = "drivers/challenges.rs"]
mod challenges;
#[path = "drivers/coding.rs"]
mod coding;
#[expect(dead_code, reason = "the tests of the command use more of it")]
#[path = "common/command.rs"]
mod command;
#[path = "drivers/conformance.rs"]
mod conformance;
#[path = "drivers/contents.rs"]
mod contents;
#[path = "drivers/corpus.rs"]
mod corpus;
#[path = "drivers/fields.rs"]
mod fields;
#[path = "drivers/form_bodies.rs"]
mod form_bodies;
#[path = "drivers/forms.rs"]
mod forms;
#[path = "drivers/fragments.rs"]
mod fragments;
#[cfg(feature = "http2")]
#[path = "drivers/frames.rs"]
mod frames;
#[path = "drivers/framing.rs"]
mod framing;
#[path = "drivers/handshakes.rs"]
mod handshakes;
#[cfg(feature = "http2")]
#[path = "drivers/http2.rs"]
mod http2;
#[cfg(feature = "http2")]
#[path = "drivers/http2_bounds.rs"]
mod http2_bounds;
#[cfg(feature = "http2")]
#[path = "drivers/http2_parting.rs"]
mod http2_parting;
#[cfg(feature = "http2")]
#[path = "drivers/http2_room.rs"]
mod http2_room;
#[cfg(feature = "acme")]
#[path = "drivers/issued.rs"]
mod issued;
#[path = "drivers/library.rs"]
mod library;
#[path = "drivers/life.rs"]
mod life;
#[path = "drivers/own.rs"]
mod own;
#[path = "drivers/pages.rs"]
mod pages;
#[path = "drivers/policies.rs"]
mod policies;
#[path = "drivers/pooling.rs"]
mod pooling;
#[path = "drivers/proxies.rs"]
mod proxies;
#[path = "drivers/refusals.rs"]
mod refusals;
#[path = "drivers/reload.rs"]
mod reload;
#[path = "drivers/requests.rs"]
mod requests;
#[path = "drivers/secure.rs"]
mod secure;
#[path = "drivers/secure_troubles.rs"]
mod secure_troubles;
#[path = "drivers/sessions.rs"]
mod sessions;
#[path = "drivers/stage.rs"]
mod stage;
#[path = "drivers/statics.rs"]
mod statics;
#[path = "drivers/tls.rs"]
mod tls;
#[path = "common/trust.rs"]
mod trust;
#[path = "drivers/uploads.rs"]
mod uploads;
#[path = "common/upstream.rs"]
mod upstream;
#[path = "drivers/upstreams.rs"]
mod upstreams;
#[path = "common/visitor.rs"]
mod visitor;
