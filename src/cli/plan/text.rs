//! A plan for people: the answer in a sentence or two, the figures behind it, and two tables.

use std::time::Duration;

use crate::capacity::{
    Blocking, Bottleneck, Cores, LoopBottleneck, LoopState, Needed, State, Workers,
};

use super::words::{Page, bytes, figure, share, time};
use super::{Answers, Plan};

pub(super) fn show(plan: &Plan) -> String {
    let mut page = Page::default();
    page.paragraph(&answer(plan));
    needs(&mut page, plan);
    if let (Some(workers), Some(blocking)) = (plan.machine.workers, &plan.here.workers) {
        page.heading(&format!("{} on {}", blocking_workers(workers), cores(plan.machine.cores)));
        have(&mut page, plan, blocking);
    }
    loops(&mut page, plan);
    let rate = figure(plan.here.load.rate.get());
    page.heading(&format!("When the API slows, at {rate} pages/s"));
    table(&mut page, plan, "API", &plan.slower, |row| time(row.load.upstream.get()));
    let upstream = time(plan.here.load.upstream.get());
    page.heading(&format!("When more visitors come, with the API at {upstream}"));
    table(&mut page, plan, "pages/s", &plan.more, |row| figure(row.load.rate.get()));
    page.text.push('\n');
    page.paragraph(
        "p99 is of the response: API, CPU time and wait. A model (M/M/c with a second station \
         for the CPU) for visitors who come one by one: crowds wait longer. Measure --work and \
         --loop-work on your own pages.",
    );
    page.text.truncate(page.text.trim_end().len());
    page.text
}

/// The answer in short.
fn answer(plan: &Plan) -> String {
    let here = &plan.here;
    let load = format!(
        "{} pages a second, each with {} of API and {} of CPU time,",
        figure(here.load.rate.get()),
        time(here.load.upstream.get()),
        time(here.load.work.get())
    );
    let wait = time(plan.machine.wait_max);
    let needed = match here.for_wait {
        Needed::Count(workers) => format!(
            "need {} if 99 of 100 visitors are to wait less than {wait} for one",
            blocking_workers(workers)
        ),
        Needed::MoreCores if here.to_keep_up == Needed::MoreCores => {
            format!("are more than {} can compute", cores(plan.machine.cores))
        }
        Needed::MoreCores => format!(
            "wait for {} longer than {wait} (p99), however many blocking workers there are",
            cores(plan.machine.cores)
        ),
        Needed::TooMany => format!("need more than {} blocking workers", Workers::MOST),
    };
    let have = match (plan.machine.workers, &here.workers) {
        (Some(workers), Some(blocking)) => format!(" {}", verdict(plan, workers, blocking)),
        _ => String::new(),
    };
    let used = share(plan.here.event_loop.cpu_asked * f64::from(plan.machine.cores.get()));
    let loops = match here.loops {
        Needed::Count(one) if one.get() == 1 => {
            format!("One event loop of ringpress is enough, on {used} of one core.")
        }
        Needed::Count(loops) => {
            format!("ringpress needs {loops} event loops, each with a core of its own.")
        }
        Needed::MoreCores | Needed::TooMany => {
            format!("Not even {} event loops of ringpress are enough.", Cores::MOST)
        }
    };
    format!("{load} {needed}.{have} {loops}")
}

/// What to say of the workers that there are.
fn verdict(plan: &Plan, workers: Workers, blocking: &Blocking) -> String {
    match &blocking.state {
        State::Overloaded { .. } => {
            let most = figure(blocking.rate_max_per_s);
            format!("With {workers} they collapse: {most} pages a second is all those can do.")
        }
        State::Stable { wait, .. } if wait.p99 <= plan.machine.wait_max => {
            format!("{workers} are enough.")
        }
        State::Stable { wait, .. } => {
            format!("{workers} keep up, but one visitor in 100 waits over {}.", time(wait.p99))
        }
    }
}

fn needs(page: &mut Page, plan: &Plan) {
    let Plan { machine, here, .. } = plan;
    page.heading("Blocking workers");
    let (upstream, work) = (here.load.upstream.get(), here.load.work.get());
    let held = upstream.saturating_add(work);
    let busy = held.as_secs_f64() * here.load.rate.get();
    page.item(
        "a page holds one for",
        &format!("{}: {} of API, {} of CPU time", time(held), time(upstream), time(work)),
    );
    page.item(
        "to keep up",
        &format!(
            "{}, as {} of them are busy at any time (Little's law)",
            needed(here.to_keep_up),
            figure(busy)
        ),
    );
    page.item(&format!("to wait below {}", time(machine.wait_max)), &for_wait(plan));
    let cpu_asked = here.load.rate.get() * work.as_secs_f64();
    let cores_max = f64::from(machine.cores.get());
    page.item(
        "CPU",
        &format!(
            "{} of {}; full at {} pages/s",
            share(cpu_asked / cores_max),
            cores(machine.cores),
            figure(cores_max / work.as_secs_f64())
        ),
    );
}

fn for_wait(plan: &Plan) -> String {
    let needed = needed(plan.here.for_wait);
    if !matches!(plan.here.for_wait, Needed::Count(_)) {
        return needed;
    }
    let assumed = if plan.worker_bytes_assumed { "assumed: " } else { "" };
    format!(
        "{needed} for 99 of 100 visitors, in {} of memory ({assumed}{} each)",
        memory_of(plan, plan.here.for_wait),
        bytes(plan.worker_bytes as f64)
    )
}

fn have(page: &mut Page, plan: &Plan, blocking: &Blocking) {
    let load = &plan.here.load;
    match &blocking.state {
        State::Overloaded { growth_per_s } => {
            let waited_s = WHILE_S * growth_per_s / blocking.rate_max_per_s;
            let waited = time(Duration::try_from_secs_f64(waited_s).unwrap_or(Duration::MAX));
            page.item(
                "state",
                &format!(
                    "overloaded: the line grows by {} pages each second, and after {} s \
                     a page waits {waited}",
                    figure(*growth_per_s),
                    WHILE_S
                ),
            );
        }
        State::Stable { busy, for_worker, for_core, wait, response } => {
            let workers = plan.machine.workers.map_or(1.0, |workers| f64::from(workers.get()));
            page.item("busy", &format!("{}, {} of them", figure(*busy), share(busy / workers)));
            let waits = [("wait for one", for_worker), ("wait for a core", for_core)];
            for (label, wait) in waits.into_iter().chain([("wait in all", wait)]) {
                page.item(
                    label,
                    &format!(
                        "{} of the pages; mean {}, p99 {}",
                        share(wait.probability),
                        time(wait.mean),
                        time(wait.p99)
                    ),
                );
            }
            page.item(
                "response",
                &format!("p50 {}, p99 {}", time(response.p50), time(response.p99)),
            );
        }
    }
    let short = match blocking.bottleneck {
        Bottleneck::Workers => "the workers are short",
        Bottleneck::Cpu => "the CPU is short; more workers will not help",
    };
    page.item("collapse at", &format!("{} pages/s: {short}", figure(blocking.rate_max_per_s)));
    let at = figure(load.rate.get());
    page.item(
        "or with an API of",
        &plan.upstream_max.map_or_else(
            || format!("any delay: {at} pages/s is too much even if it answers at once"),
            |upstream| format!("{} at {at} pages/s", time(upstream)),
        ),
    );
}

fn loops(page: &mut Page, plan: &Plan) {
    let event_loop = &plan.here.event_loop;
    let each = if plan.machine.cores.get() == 1 { "on" } else { "on each of" };
    page.heading(&format!("ringpress, an event loop {each} {}", cores(plan.machine.cores)));
    let assumed = if plan.loop_work_assumed { " (assumed: its reference page)" } else { "" };
    page.item(
        "CPU",
        &format!(
            "{}, at {} a page{assumed}",
            share(event_loop.cpu_asked),
            time(plan.machine.loop_work.get()),
        ),
    );
    match &event_loop.state {
        LoopState::Overloaded { excess_per_s } => page
            .item("state", &format!("overloaded: {} pages/s are too many", figure(*excess_per_s))),
        LoopState::Stable { wait, response, in_flight, in_flight_bytes } => {
            page.item(
                "wait for a core",
                &format!(
                    "{} of the pages; mean {}, p99 {}",
                    share(wait.probability),
                    time(wait.mean),
                    time(wait.p99)
                ),
            );
            page.item(
                "response",
                &format!("p50 {}, p99 {}", time(response.p50), time(response.p99)),
            );
            page.item(
                "pages in flight",
                &format!(
                    "{} (Little's law), in {} of memory",
                    figure(*in_flight),
                    bytes(*in_flight_bytes)
                ),
            );
        }
    }
    let why = match event_loop.bottleneck {
        LoopBottleneck::Cpu => "the CPU is busy",
        LoopBottleneck::InFlight => "`in_flight_max` pages wait for the API; more get a 503",
    };
    page.item("full at", &format!("{} pages/s: {why}", figure(event_loop.rate_max_per_s)));
    page.item("a slower API", "takes memory for more pages in flight, hardly any CPU time");
}

/// A table of loads; `first` makes what tells them apart.
fn table(
    page: &mut Page,
    plan: &Plan,
    head: &str,
    rows: &[Answers],
    first: impl Fn(&Answers) -> String,
) {
    let workers = plan.machine.workers;
    let have = workers.map_or_else(String::new, |workers| format!("p99 with {workers}"));
    page.row([head, "workers", "memory", &have, "ringpress p99", "in flight", "memory"]);
    for row in rows {
        let have =
            row.workers.as_ref().map_or_else(String::new, |blocking| match &blocking.state {
                State::Overloaded { .. } => "collapse".to_owned(),
                State::Stable { response, .. } => time(response.p99),
            });
        let [p99, in_flight, memory] = match &row.event_loop.state {
            LoopState::Overloaded { .. } => ["full".into(), "-".into(), "-".into()],
            LoopState::Stable { response, in_flight, in_flight_bytes, .. } => {
                [time(response.p99), figure(*in_flight), bytes(*in_flight_bytes)]
            }
        };
        let (needed, memory_needed) = (needed(row.for_wait), memory_of(plan, row.for_wait));
        page.row([&first(row), &needed, &memory_needed, &have, &p99, &in_flight, &memory]);
    }
}

fn needed(workers: Needed<Workers>) -> String {
    match workers {
        Needed::Count(workers) => workers.to_string(),
        Needed::MoreCores => "more cores".to_owned(),
        Needed::TooMany => format!("over {}", Workers::MOST),
    }
}

fn memory_of(plan: &Plan, workers: Needed<Workers>) -> String {
    match workers {
        Needed::Count(workers) => bytes(f64::from(workers.get()) * plan.worker_bytes as f64),
        Needed::MoreCores | Needed::TooMany => "-".to_owned(),
    }
}

fn blocking_workers(workers: Workers) -> String {
    format!("{workers} blocking worker{}", if workers.get() == 1 { "" } else { "s" })
}

fn cores(cores: Cores) -> String {
    format!("{cores} core{}", if cores.get() == 1 { "" } else { "s" })
}

/// How long an overload is looked at, seconds.
const WHILE_S: f64 = 10.0;
