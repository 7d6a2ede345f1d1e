//! The answers of upstreams that a worker keeps for fetches that ask for it (RFC 9111, as a cache
//! shared by the visitors of this server), and calls that several pages share.
//!
//! Owns when an answer is shown again, asked for again, or asked for once for many. A shared call
//! is a task of its own: the visitor it was begun for may leave. Refuses to keep what is for one
//! user alone, unless a site says that it may.

mod exchange;
mod flight;
mod store;
mod validator;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use crate::driver::Driver;
use crate::error::{PageError, PageErrorKind};
use crate::http::caching::Declared;
use crate::limits;
use crate::press::Data;
use crate::site::Fetch;
use crate::upstream::Client;

use exchange::{Call, Failed, Outcome};
use flight::Flight;
use store::{Kept, State, Store, What};

pub(super) use store::Key;

/// The kept answers of a worker, and the calls that are on their way.
pub(super) struct FetchCache<D: Driver> {
    client: Client<D>,
    /// Shared with the cache that comes after this one.
    store: Rc<RefCell<Store>>,
    flights: RefCell<HashMap<u128, Rc<Flight<Outcome>>>>,
    /// Calls that nobody waits for.
    refreshing: Cell<usize>,
}

/// What to ask for, borrowed from a page.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) fetch: &'a Fetch,
    pub(super) key: Key<'a>,
    pub(super) target: &'a [u8],
    /// All field lines; from `ties` on those that tie them to the page that happens to ask.
    pub(super) lines: &'a [u8],
    pub(super) ties: usize,
    /// Until when the page waits.
    pub(super) deadline: Instant,
}

/// What a page got.
pub(super) struct Got {
    kept: Rc<Kept>,
    /// How: kept, shared, asked for.
    pub(super) how: &'static str,
    pub(super) reused: bool,
}

/// A fetch that failed, and how it was asked for.
pub(super) struct NotGot {
    pub(super) error: PageError,
    pub(super) status: Option<u16>,
}

/// Appends what tells a request from others: the identity of its upstream, all that is sent but the
/// ties, and what visitors get of its answer.
pub(super) fn write_key(
    identity: u64,
    fetch: &Fetch,
    target: &[u8],
    lines: &[u8],
    key: &mut Vec<u8>,
) {
    key.extend_from_slice(&identity.to_le_bytes());
    // A target has no line end, and a line of fields has one: no two requests make the same key.
    for part in [target, b"\n", lines] {
        key.extend_from_slice(part);
    }
    for name in &fetch.pass {
        key.extend_from_slice(name.as_bytes());
        key.push(b',');
    }
}

impl<D: Driver> FetchCache<D> {
    /// An empty cache for so many bytes.
    pub(super) fn new(client: Client<D>, bytes_max: u64) -> Rc<Self> {
        Rc::new(Self {
            client,
            store: Rc::new(RefCell::new(Store::new(bytes_max))),
            flights: RefCell::default(),
            refreshing: Cell::new(0),
        })
    }

    /// The same answers for another client of this worker. Calls that are on their way stay with
    /// the one that they were begun with.
    pub(super) fn go_on(&self, client: Client<D>) -> Rc<Self> {
        let store = Rc::clone(&self.store);
        let (flights, refreshing) = (RefCell::default(), Cell::new(0));
        Rc::new(Self { client, store, flights, refreshing })
    }

    /// A kept answer, if one may be shown. It may be asked for again meanwhile.
    pub(super) fn look(self: &Rc<Self>, ask: &Ask<'_>, declared: &Declared) -> Option<Got> {
        let metrics = self.client.metrics();
        let kept = self.store.borrow().get(&ask.key)?;
        let how = match kept.state(declared, D::now()) {
            State::Fresh => {
                metrics.cache_hits.add(1);
                "cached"
            }
            State::Stale(again) => {
                metrics.cache_stale.add(1);
                if again {
                    self.refresh(ask, Rc::clone(&kept));
                }
                "stale"
            }
            State::Old | State::NotForOthers => return None,
        };
        Some(Got { kept, how, reused: false })
    }

    /// An answer for which an upstream has to be asked, by this page or by another that does.
    pub(super) async fn get(self: &Rc<Self>, ask: &Ask<'_>) -> Result<Got, NotGot> {
        let Some(caching) = ask.fetch.cache else {
            let error = PageError::new(PageErrorKind::Internal, "a fetch that is not kept");
            return Err(NotGot { error, status: None });
        };
        let kept = self.store.borrow().get(&ask.key);
        // Nobody waits for a call whose answer will be for another alone.
        let is_known_alone = kept.as_ref().is_some_and(|kept| match kept.what {
            What::NotForOthers => kept.state(&caching.declared, D::now()) == State::NotForOthers,
            What::Data(_) | What::Gone => !kept.may_be_shared(&caching.declared),
        });
        let (outcome, how) = if !caching.coalesce || is_known_alone {
            self.client.metrics().cache_misses.add(1);
            self.alone(ask, kept.clone()).await
        } else {
            self.together(ask, kept.as_ref()).await
        };
        match outcome.result {
            Ok(kept) => Ok(Got { kept, how, reused: outcome.reused }),
            Err(failed) => match kept {
                Some(kept) if failed.stands_for_error(&kept, &caching.declared, D::now()) => {
                    self.client.metrics().cache_stale.add(1);
                    // Whoever comes next need not wait as long, even if the call still goes on.
                    kept.failed.set(Some(D::now()));
                    Ok(Got { kept, how: "stale", reused: false })
                }
                _ => Err(NotGot { error: failed.error(), status: failed.status }),
            },
        }
    }

    /// Asks for this page alone.
    async fn alone(&self, ask: &Ask<'_>, kept: Option<Rc<Kept>>) -> (Outcome, &'static str) {
        let outcome = self.exchange(&Call::of(ask, ask.deadline), kept).await;
        let how = outcome.how();
        (outcome, how)
    }

    /// Waits for the call that is on its way, or begins one. Where that had less time than this
    /// page has, and ran out of it, another is begun.
    async fn together(
        self: &Rc<Self>,
        ask: &Ask<'_>,
        kept: Option<&Rc<Kept>>,
    ) -> (Outcome, &'static str) {
        let mut is_counted = false;
        for _ in 0..limits::CACHE_FLIGHTS_TRIED_MAX {
            let found = self.flights.borrow().get(&ask.key.digest).cloned();
            let (flight, is_ours) = match found {
                Some(flight) if self.is_of_use(&flight, ask) => (flight, false),
                Some(_) => break,
                None if self.flights.borrow().len() >= limits::CACHE_FLIGHTS_MAX => break,
                None => (self.start(ask, kept.cloned(), false), true),
            };
            let metrics = self.client.metrics();
            let counter = if is_ours { &metrics.cache_misses } else { &metrics.cache_coalesced };
            counter.add(u64::from(!std::mem::replace(&mut is_counted, true)));
            if flight.waiters() >= limits::CACHE_WAITERS_MAX {
                return (Outcome::failed(Failed::busy()), "coalesced");
            }
            let landing = flight.landing();
            let landed = self.client.timers().timer().until(ask.deadline, landing).await;
            let Ok(outcome) = landed else { return (Outcome::failed(Failed::late()), "coalesced") };
            match &outcome.result {
                Ok(kept) if !is_ours && !self.is_for_us(kept, ask) => break,
                Err(failed) if !is_ours && self.may_try_again(failed, kept, ask) => continue,
                _ => {
                    let how = if is_ours { outcome.how() } else { "coalesced" };
                    return (outcome, how);
                }
            }
        }
        if !is_counted {
            self.client.metrics().cache_misses.add(1);
        }
        self.alone(ask, kept.cloned()).await
    }

    /// Whether a call asks for the same, and not for how it was before a change.
    fn is_of_use(&self, flight: &Flight<Outcome>, ask: &Ask<'_>) -> bool {
        flight.is_for(&ask.key) && !self.store.borrow().has_changed_since(&ask.key, flight.begun)
    }

    /// Forgets all answers that a target had, as what it stands for was changed.
    pub(super) fn forget(&self, fetch: &Fetch, target: &[u8]) {
        let identity = self.client.identity(fetch.upstream);
        self.store.borrow_mut().change(identity, target, D::now());
    }

    /// Whether what another asked for is for us too.
    fn is_for_us(&self, kept: &Kept, ask: &Ask<'_>) -> bool {
        let declared = ask.fetch.cache.map(|caching| caching.declared).unwrap_or_default();
        kept.may_be_shared(&declared)
    }

    /// Whether a call failed for want of time, of which there is some left here.
    fn may_try_again(&self, failed: &Failed, kept: Option<&Rc<Kept>>, ask: &Ask<'_>) -> bool {
        let declared = ask.fetch.cache.map(|caching| caching.declared).unwrap_or_default();
        let now = D::now();
        let has_other = kept.is_some_and(|kept| failed.stands_for_error(kept, &declared, now));
        failed.ran_out && ask.deadline > now + limits::TIMER_TICK && !has_other
    }

    /// Asks again for what is kept, unless that is being done, or much else is.
    fn refresh(self: &Rc<Self>, ask: &Ask<'_>, kept: Rc<Kept>) {
        let flights = self.flights.borrow();
        let is_full = flights.len() >= limits::CACHE_FLIGHTS_MAX
            || self.refreshing.get() >= limits::CACHE_REFRESHES_MAX;
        if is_full || flights.contains_key(&ask.key.digest) {
            return;
        }
        drop(flights);
        self.client.metrics().cache_refreshes.add(1);
        self.start(ask, Some(kept), true);
    }

    /// Begins a call as a task of its own. It has the time that a fetch has, not what is left of a
    /// page's.
    fn start(
        self: &Rc<Self>,
        ask: &Ask<'_>,
        kept: Option<Rc<Kept>>,
        is_refresh: bool,
    ) -> Rc<Flight<Outcome>> {
        let flight = Flight::new(&ask.key, D::now());
        self.flights.borrow_mut().insert(ask.key.digest, Rc::clone(&flight));
        let call = Call::of(ask, D::now() + ask.fetch.deadline);
        let under_way = UnderWay::new(self, ask.key.digest, is_refresh);
        let (cache, shared) = (Rc::clone(self), Rc::clone(&flight));
        D::spawn(async move {
            let exchange = AssertUnwindSafe(cache.exchange(&call, kept)).catch_unwind();
            let outcome = exchange.await.unwrap_or_else(|_| {
                cache.client.metrics().panics.add(1);
                Outcome::failed(Failed::internal())
            });
            // Who asks from now on finds what is kept.
            drop(under_way);
            shared.end(outcome);
        });
        flight
    }
}

/// A call in the count, until dropped.
struct UnderWay<D: Driver> {
    cache: Rc<FetchCache<D>>,
    digest: u128,
    is_refresh: bool,
}

impl<D: Driver> UnderWay<D> {
    fn new(cache: &Rc<FetchCache<D>>, digest: u128, is_refresh: bool) -> Self {
        let refreshing = cache.refreshing.get() + usize::from(is_refresh);
        cache.refreshing.set(refreshing);
        Self { cache: Rc::clone(cache), digest, is_refresh }
    }
}

impl<D: Driver> Drop for UnderWay<D> {
    fn drop(&mut self) {
        let flight = self.cache.flights.borrow_mut().remove(&self.digest);
        debug_assert!(flight.is_some(), "a call that is not on its way ends");
        let refreshing = self.cache.refreshing.get() - usize::from(self.is_refresh);
        self.cache.refreshing.set(refreshing);
    }
}

impl Got {
    /// The value for a page.
    pub(super) fn value(&self) -> Result<Data, PageError> {
        match &self.kept.what {
            What::Data(data) => Ok(Data::Shared(data.clone())),
            What::Gone => Err(super::answer::gone(self.kept.status)),
            What::NotForOthers => {
                let message = "an answer that was not kept";
                Err(PageError::new(PageErrorKind::Internal, message))
            }
        }
    }

    pub(super) fn status(&self) -> u16 {
        self.kept.status
    }

    /// The body as it came from the upstream, bytes.
    pub(super) fn body_bytes(&self) -> usize {
        self.kept.body_bytes
    }

    /// Field lines for the visitor.
    pub(super) fn passed(&self) -> &[u8] {
        &self.kept.passed
    }

    /// How old it is, if it did not just come for this page from whoever made it.
    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        let was_kept = !self.how.is_empty() || self.kept.keeping.was_kept_before();
        was_kept.then(|| self.kept.age(now))
    }
}
