//! The tables: upstreams, the slowest pages, and how the server is set up.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use super::super::charts::{Frame, SPARK, scale};
use super::super::history::{History, Outcomes, PageStep, UpstreamStep};
use super::super::spread::{Spread, quantile_us};
use super::super::words::{Figure, grouped, long, several, severity};
use super::{per, seconds};
use crate::limits::{DASHBOARD_PAGES_MAX, DASHBOARD_UPSTREAMS_MAX, DASHBOARD_WINDOW_STEPS};
use crate::metrics::snapshot::{Snapshot, Times, Upstream};

/// One upstream, over the last minute.
#[derive(Debug, Serialize)]
pub(super) struct UpstreamRow {
    name: String,
    authority: String,
    /// Of its breaker: a class, and a word.
    kind: &'static str,
    breaker: String,
    rate: Figure,
    p50: Figure,
    p99: Figure,
    /// Exchanges that failed, or were answered 5xx.
    failed: Figure,
    failed_kind: &'static str,
    /// How many of each kind.
    failures: String,
    connections: Figure,
    in_flight: Figure,
    reused: Figure,
    line: String,
    area: String,
    told: String,
}

/// One page, over the last minute.
#[derive(Debug, Serialize)]
pub(super) struct PageRow {
    pattern: String,
    template: String,
    rate: Figure,
    p50: Figure,
    p99: Figure,
    failed: Figure,
    failed_kind: &'static str,
    /// How long its template took, on average.
    render: Figure,
    /// Its part of the time that all pages took.
    share: Figure,
    share_percent: u64,
}

/// A name and what is to be said of it.
#[derive(Debug, Serialize)]
pub(super) struct Fact {
    name: &'static str,
    text: String,
}

/// Each upstream, in the order of the site file.
pub(super) fn upstreams(history: &History, now: &Snapshot) -> Vec<UpstreamRow> {
    now.upstreams.iter().take(DASHBOARD_UPSTREAMS_MAX).map(|one| upstream(history, one)).collect()
}

/// How many are too many to be shown.
pub(super) fn upstreams_left_out(now: &Snapshot) -> usize {
    now.upstreams.len().saturating_sub(DASHBOARD_UPSTREAMS_MAX)
}

fn upstream(history: &History, now: &Upstream) -> UpstreamRow {
    let recent = history.recent(DASHBOARD_WINDOW_STEPS);
    let seconds = seconds(recent.clone());
    let parts: Vec<_> = recent.filter_map(|step| step.upstream(&now.name)).collect();
    let sum = |count: fn(&UpstreamStep) -> u64| parts.iter().map(|part| count(part)).sum::<u64>();
    let times = Spread::sum(parts.iter().map(|part| &part.times));
    let (exchanges, errors) = (sum(|one| one.exchanges), sum(|one| one.errors));
    let answers_5xx = sum(|one| one.answers_5xx);
    let kinds = [
        (sum(|one| one.timeouts), "late"),
        (errors.saturating_sub(sum(|one| one.timeouts)), "broken"),
        (answers_5xx, "5xx"),
        (sum(|one| one.rejected), "not asked"),
        (sum(|one| one.retries), "tried again"),
    ];
    let told = kinds.iter().filter(|(count, _)| *count > 0);
    let told: Vec<_> = told.map(|(count, what)| format!("{} {what}", grouped(*count))).collect();
    let rates: Vec<_> = history
        .steps()
        .map(|step| step.upstream(&now.name).map(|one| per(one.exchanges as f64, step.seconds)))
        .collect();
    let max = scale(rates.iter().flatten().copied(), 10.0);
    let frame = Frame::new(SPARK, max);
    let (kind, breaker) = match now.breaker.as_str() {
        "" => ("none", "no breaker"),
        "closed" => ("fine", "closed"),
        "open" => ("bad", "open"),
        other => ("warn", other),
    };
    UpstreamRow {
        name: now.name.clone(),
        authority: now.authority.clone(),
        kind,
        breaker: breaker.to_owned(),
        rate: Figure::rate(per(exchanges as f64, seconds)),
        p50: Figure::time(quantile_us(&times, 0.5)),
        p99: Figure::time(quantile_us(&times, 0.99)),
        failed: Figure::share((errors + answers_5xx) as f64, exchanges as f64),
        failed_kind: severity(errors + answers_5xx, exchanges),
        failures: told.join(", "),
        connections: Figure::count(now.connections),
        in_flight: Figure::count(now.in_flight),
        reused: Figure::share(
            sum(|one| one.reused) as f64,
            sum(|one| one.reused + one.connects) as f64,
        ),
        line: frame.line(&rates),
        area: frame.area(&rates),
        told: format!("exchanges a second; the upper edge is {}", Figure::rate(max).text()),
    }
}

/// What one page did in the last minute.
struct PageSum<'a> {
    pattern: &'a str,
    template: &'a str,
    outcomes: Outcomes,
    times: Times,
    render: Times,
    p99_us: f64,
}

fn page_sums(history: &History) -> Vec<PageSum<'_>> {
    let mut parts: BTreeMap<(&str, &str), Vec<&PageStep>> = BTreeMap::new();
    for page in history.recent(DASHBOARD_WINDOW_STEPS).flat_map(|step| &step.pages) {
        parts.entry((&page.pattern, &page.template)).or_default().push(page);
    }
    let sums = parts.into_iter().map(|((pattern, template), parts)| {
        let times = Spread::sum(parts.iter().map(|part| &part.times));
        PageSum {
            pattern,
            template,
            outcomes: parts.iter().fold(Outcomes::default(), |sum, part| sum + part.outcomes),
            p99_us: quantile_us(&times, 0.99).unwrap_or(0.0),
            times,
            render: Spread::sum(parts.iter().map(|part| &part.render)),
        }
    });
    sums.collect()
}

/// The pages whose slowest hundredth takes the longest.
pub(super) fn slowest(history: &History) -> Vec<PageRow> {
    let mut sums = page_sums(history);
    sums.sort_by(|a, b| b.p99_us.total_cmp(&a.p99_us));
    rows(history, &sums)
}

/// The pages that take the most time, all their visitors together.
pub(super) fn heaviest(history: &History) -> Vec<PageRow> {
    let mut sums = page_sums(history);
    sums.sort_by_key(|sum| Reverse(sum.times.sum_us));
    rows(history, &sums)
}

fn rows(history: &History, sums: &[PageSum<'_>]) -> Vec<PageRow> {
    let seconds = seconds(history.recent(DASHBOARD_WINDOW_STEPS));
    let all_us = sums.iter().map(|sum| sum.times.sum_us as f64).sum::<f64>();
    let rows = sums.iter().take(DASHBOARD_PAGES_MAX).map(|sum| {
        let (us, all) = (sum.times.sum_us as f64, sum.outcomes.all() as f64);
        let render =
            (sum.render.count > 0).then(|| sum.render.sum_us as f64 / sum.render.count as f64);
        PageRow {
            pattern: if sum.pattern.is_empty() { "no page" } else { sum.pattern }.to_owned(),
            template: sum.template.to_owned(),
            rate: Figure::rate(per(all.max(sum.times.count as f64), seconds)),
            p50: Figure::time(quantile_us(&sum.times, 0.5)),
            p99: Figure::time(quantile_us(&sum.times, 0.99)),
            failed: Figure::share(sum.outcomes.failed as f64, all),
            failed_kind: severity(sum.outcomes.failed, sum.outcomes.all()),
            render: Figure::time(render),
            share: Figure::share(us, all_us),
            share_percent: per(100.0 * us, all_us).round() as u64,
        }
    });
    rows.collect()
}

/// How the server is set up, and what became of it.
pub(super) fn facts(now: &Snapshot) -> Vec<Fact> {
    let life = &now.life;
    let loaded = match life.loaded_unix_ms {
        0 => "–".to_owned(),
        at => format!("{} ago", long(now.unix_ms.saturating_sub(at))),
    };
    let counted = |count, one, more| match count {
        0 => "none".to_owned(),
        count => several(count, one, more),
    };
    let mut reloads = counted(life.reloads, "took", "took");
    if life.reloads_failed > 0 {
        reloads.push_str(&format!(", {} refused", grouped(life.reloads_failed)));
    }
    let mut workers = several(now.workers.len() as u64, "core", "cores");
    if let Some(cpus) = cpus(now) {
        workers.push_str(&format!(" (CPU {cpus})"));
    }
    let facts = [
        ("Site", now.site.clone()),
        ("Listening", now.listening.join(" ")),
        ("Driver", now.driver.clone()),
        ("Workers", workers),
        ("Up for", long(now.uptime_ms)),
        ("Site loaded", loaded),
        ("Reloads", reloads),
        ("Upgrades failed", counted(life.upgrades_failed, "time", "times")),
        ("Workers restarted", counted(life.workers_restarted, "time", "times")),
        ("Workers stalled", counted(life.workers_stalled, "time", "times")),
    ];
    facts.into_iter().map(|(name, text)| Fact { name, text }).collect()
}

/// The CPUs of the workers, as ranges where they follow each other.
fn cpus(now: &Snapshot) -> Option<String> {
    let mut cpus: Vec<usize> = now.workers.iter().filter_map(|worker| worker.cpu).collect();
    cpus.sort_unstable();
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for cpu in cpus {
        match ranges.last_mut() {
            Some((_, last)) if cpu <= *last + 1 => *last = cpu,
            _ => ranges.push((cpu, cpu)),
        }
    }
    let range = |(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}–{last}"),
    };
    let text = ranges.iter().map(range).collect::<Vec<_>>().join(", ");
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::dashboard::samples;

    fn history(seconds: usize) -> History {
        let mut history = History::default();
        let mut server = samples::Server::new(2);
        for _ in 0..=seconds {
            history.push(server.after(&[100, 50]));
        }
        history
    }

    fn patterns(rows: &[PageRow]) -> Vec<&str> {
        rows.iter().map(|row| row.pattern.as_str()).collect()
    }

    #[test]
    fn the_slowest_page_is_not_the_one_that_takes_the_most_time() {
        let history = history(10);
        let (slowest, heaviest) = (slowest(&history), heaviest(&history));
        assert_eq!(patterns(&slowest), ["/search", "/items/{id}", "/"]);
        assert_eq!(patterns(&heaviest)[0], "/");
        let shares: u64 = heaviest.iter().map(|row| row.share_percent).sum();
        assert!((98..=102).contains(&shares), "{shares}");
        assert_eq!(slowest[0].failed_kind, "bad");
    }

    #[test]
    fn an_upstream_has_its_rates_and_its_pool() {
        let history = history(70);
        let rows = upstreams(&history, history.last().unwrap());
        assert_eq!((rows[0].name.as_str(), rows[0].kind), ("api", "fine"));
        assert_eq!(rows[0].rate.text(), "300/s");
        assert_eq!(rows[0].failures, "60 late, 60 broken, 60 5xx");
        assert_eq!(rows[0].failed.text(), "1.0 %");
        assert_eq!(rows[0].reused.text(), "99 %");
        assert_eq!(rows[1].breaker, "no breaker");
        assert_eq!(rows[1].failed.text(), "–");
    }

    #[test]
    fn a_site_without_pages_or_upstreams_has_empty_tables() {
        let mut history = History::default();
        history.push(Snapshot::default());
        history.push(Snapshot::default());
        assert!(slowest(&history).is_empty() && heaviest(&history).is_empty());
        assert!(upstreams(&history, history.last().unwrap()).is_empty());
    }

    #[test]
    fn cpus_are_told_as_ranges() {
        let of = |cpus: &[usize]| {
            let mut server = samples::Server::new(cpus.len());
            let mut now = server.after(&[]);
            for (worker, cpu) in now.workers.iter_mut().zip(cpus) {
                worker.cpu = Some(*cpu);
            }
            super::cpus(&now)
        };
        assert_eq!(of(&[0, 1, 2, 3]).unwrap(), "0–3");
        assert_eq!(of(&[5, 0, 2, 3]).unwrap(), "0, 2–3, 5");
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn facts_name_what_was_refused() {
        let mut now = samples::Server::new(1).after(&[]);
        now.life.reloads = 2;
        now.life.reloads_failed = 1;
        let facts = facts(&now);
        let reloads = facts.iter().find(|fact| fact.name == "Reloads").unwrap();
        assert_eq!(reloads.text, "2 took, 1 refused");
    }
}
