//! When a certificate is asked for: decisions, all figures. Time comes as `now`.

use std::time::{Duration, SystemTime};

use crate::limits::{
    ACME_JITTER_PARTS, ACME_RENEW_PARTS, ACME_RETRY_AFTER_MAX, ACME_RETRY_MAX, ACME_RETRY_MIN,
};

use super::certificate::Certificate;

/// What to do about a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is fine for so long.
    Keep(Duration),
    /// Another one is to be asked for, for this reason.
    Ask(&'static str),
}

/// What is in the file of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// The certificate.
    pub(super) certificate: Certificate,
    /// The directory that it is from.
    pub(super) directory: String,
}

/// Whether what is there will do. Renewed is what has no more than a third of its life left, and
/// a little later than that: by an amount of its own, so that not all who got theirs together
/// come back together.
pub(super) fn decide(
    held: Option<&Held>,
    names: &[String],
    directory: &str,
    now: SystemTime,
) -> Decision {
    let Some(Held { certificate, directory: theirs }) = held else {
        return Decision::Ask("there is none");
    };
    if theirs != directory {
        return Decision::Ask("the one that is there is from another directory");
    }
    let is_for = |name: &String| certificate.names.contains(name);
    if certificate.names.len() != names.len() || !names.iter().all(is_for) {
        return Decision::Ask("the one that is there is for other names");
    }
    let due = due(certificate);
    match due.duration_since(now) {
        Ok(left) if !left.is_zero() => Decision::Keep(left),
        _ if certificate.not_after <= now => Decision::Ask("the one that is there has expired"),
        _ => Decision::Ask("the one that is there is near the end of its life"),
    }
}

/// When a certificate is to be renewed.
fn due(certificate: &Certificate) -> SystemTime {
    let Certificate { not_before, not_after, digest, .. } = *certificate;
    let life = not_after.duration_since(not_before).unwrap_or_default();
    let left = life / ACME_RENEW_PARTS;
    not_after - left + part(left / ACME_JITTER_PARTS, digest)
}

/// How long to wait after so many failures in a row: twice as long after each, and as long as the
/// directory asks for at least. `chance` spreads it over its last quarter.
pub(super) fn pause(failures: u32, asked_for: Option<Duration>, chance: u64) -> Duration {
    let doubled = ACME_RETRY_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let longest = doubled.min(ACME_RETRY_MAX);
    let usual = longest - part(longest / 4, chance);
    usual.max(asked_for.unwrap_or_default().min(ACME_RETRY_AFTER_MAX))
}

/// A part of a time, as `chance` has it, from none to all of it.
fn part(of: Duration, chance: u64) -> Duration {
    of.mul_f64((chance >> 32) as f64 / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::certificate::tests::{chain, day};
    use super::*;

    const DIRECTORY: &str = "https://ca.example/directory";

    fn held(names: &[&str]) -> Held {
        let certificate = Certificate::of_chain(&chain(names)).unwrap();
        Held { certificate, directory: DIRECTORY.into() }
    }

    fn decide_at(held: &Held, names: &[&str], now: SystemTime) -> Decision {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        decide(Some(held), &names, DIRECTORY, now)
    }

    /// Its life is 90 days, so a third is left on day 60, and the jitter is up to three days.
    #[test]
    fn a_certificate_is_kept_until_a_third_of_its_life_is_left_and_not_much_longer() {
        let held = held(&["a.example", "b.example"]);
        for names in [["a.example", "b.example"], ["b.example", "a.example"]] {
            for now in [day(0), day(30), day(60)] {
                let decision = decide_at(&held, &names, now);
                let Decision::Keep(left) = decision else { panic!("{now:?}: {decision:?}") };
                assert!((day(60)..=day(63)).contains(&(now + left)), "{left:?}");
            }
            let (near, expired) =
                (decide_at(&held, &names, day(63)), decide_at(&held, &names, day(90)));
            assert_eq!(near, Decision::Ask("the one that is there is near the end of its life"));
            assert_eq!(expired, Decision::Ask("the one that is there has expired"));
        }
        // A clock that is behind is no reason to ask for more and more of them.
        assert!(matches!(
            decide_at(&held, &["a.example", "b.example"], SystemTime::UNIX_EPOCH),
            Decision::Keep(_)
        ));
    }

    #[test]
    fn renewals_are_spread() {
        let dues: Vec<SystemTime> =
            (0..8).map(|_| due(&held(&["a.example"]).certificate)).collect();
        assert!(dues.iter().any(|one| *one != dues[0]), "{dues:?}");
        let at = |digest| due(&Certificate { digest, ..held(&["a.example"]).certificate });
        assert_eq!((at(0), at(u64::MAX)), (day(60), day(63)));
    }

    #[test]
    fn other_names_and_another_directory_need_another_certificate() {
        let held = held(&["a.example", "b.example"]);
        for names in [vec!["a.example"], vec!["a.example", "c.example"]] {
            let decision = decide_at(&held, &names, day(1));
            assert_eq!(decision, Decision::Ask("the one that is there is for other names"));
        }
        let names = ["a.example".to_owned(), "b.example".to_owned()];
        let decision = decide(Some(&held), &names, "https://staging.example/", day(1));
        assert_eq!(decision, Decision::Ask("the one that is there is from another directory"));
        assert_eq!(decide(None, &names, DIRECTORY, day(1)), Decision::Ask("there is none"));
    }

    #[test]
    fn pauses_grow_from_minutes_to_a_day_and_a_directory_may_ask_for_longer() {
        assert_eq!(pause(1, None, 0), ACME_RETRY_MIN);
        assert_eq!(pause(3, None, 0), 4 * ACME_RETRY_MIN);
        assert_eq!(pause(40, None, 0), ACME_RETRY_MAX);
        for failures in 0..40 {
            let (longest, shortest) = (pause(failures, None, 0), pause(failures, None, u64::MAX));
            assert_eq!(shortest, longest - longest / 4);
            assert!(shortest >= ACME_RETRY_MIN * 3 / 4);
        }
        let hour = Duration::from_secs(3600);
        assert_eq!(pause(1, Some(hour), 0), hour);
        assert_eq!(pause(40, Some(hour), 0), ACME_RETRY_MAX);
        assert_eq!(pause(1, Some(Duration::MAX), 0), ACME_RETRY_AFTER_MAX);
    }
}
