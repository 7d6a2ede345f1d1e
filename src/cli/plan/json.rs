//! A plan for programs. Names end with their units; times are milliseconds.

use serde_json::{Value, json};
use std::time::Duration;

use crate::capacity::{
    Blocking, Bottleneck, Count, EventLoop, Load, LoopBottleneck, LoopState, Needed, Response,
    State, Wait,
};

use super::{Answers, Plan};

pub(super) fn show(plan: &Plan) -> String {
    let machine = &plan.machine;
    let value = json!({
        "workers": machine.workers.map(|workers| workers.get()),
        "cores": machine.cores.get(),
        "wait_max_ms": ms(machine.wait_max),
        "worker_bytes": plan.worker_bytes,
        "worker_bytes_assumed": plan.worker_bytes_assumed,
        "loop_work_ms": ms(machine.loop_work.get()),
        "loop_work_assumed": plan.loop_work_assumed,
        "here": answers(&plan.here),
        "upstream_max_ms": plan.upstream_max.map(ms),
        "slower": plan.slower.iter().map(answers).collect::<Vec<_>>(),
        "more": plan.more.iter().map(answers).collect::<Vec<_>>(),
    });
    format!("{value:#}")
}

fn answers(answers: &Answers) -> Value {
    json!({
        "load": load(&answers.load),
        "workers_to_keep_up": needed(answers.to_keep_up),
        "workers_for_wait": needed(answers.for_wait),
        "blocking": answers.workers.as_ref().map(blocking),
        "loops_for_wait": needed(answers.loops),
        "event_loop": event_loop(&answers.event_loop),
    })
}

fn load(load: &Load) -> Value {
    json!({
        "rate_per_s": load.rate.get(),
        "upstream_ms": ms(load.upstream.get()),
        "work_ms": ms(load.work.get()),
    })
}

/// A count, or the word for why there is none.
fn needed<const MAX: u32>(needed: Needed<Count<MAX>>) -> Value {
    match needed {
        Needed::Count(count) => count.get().into(),
        Needed::MoreCores => "more cores".into(),
        Needed::TooMany => "too many".into(),
    }
}

fn blocking(blocking: &Blocking) -> Value {
    let state = match &blocking.state {
        State::Overloaded { growth_per_s } => json!({
            "is": "overloaded",
            "growth_per_s": growth_per_s,
        }),
        State::Stable { busy, for_worker, for_core, wait: both, response: whole } => json!({
            "is": "stable",
            "busy_workers": busy,
            "wait_for_worker": wait(for_worker),
            "wait_for_core": wait(for_core),
            "wait": wait(both),
            "response": response(whole),
        }),
    };
    json!({
        "rate_max_per_s": blocking.rate_max_per_s,
        "bottleneck": match blocking.bottleneck {
            Bottleneck::Workers => "workers",
            Bottleneck::Cpu => "cpu",
        },
        "cpu_asked": blocking.cpu_asked,
        "state": state,
    })
}

fn event_loop(event_loop: &EventLoop) -> Value {
    let state = match &event_loop.state {
        LoopState::Overloaded { excess_per_s } => json!({
            "is": "overloaded",
            "excess_per_s": excess_per_s,
        }),
        LoopState::Stable { wait: for_core, response: whole, in_flight, in_flight_bytes } => {
            json!({
                "is": "stable",
                "wait": wait(for_core),
                "response": response(whole),
                "in_flight": in_flight,
                "in_flight_bytes": in_flight_bytes.round(),
            })
        }
    };
    json!({
        "rate_max_per_s": event_loop.rate_max_per_s,
        "bottleneck": match event_loop.bottleneck {
            LoopBottleneck::Cpu => "cpu",
            LoopBottleneck::InFlight => "in_flight",
        },
        "cpu_asked": event_loop.cpu_asked,
        "state": state,
    })
}

fn wait(wait: &Wait) -> Value {
    json!({
        "probability": wait.probability,
        "mean_ms": ms(wait.mean),
        "p50_ms": ms(wait.p50),
        "p99_ms": ms(wait.p99),
    })
}

fn response(response: &Response) -> Value {
    json!({
        "mean_ms": ms(response.mean),
        "p50_ms": ms(response.p50),
        "p99_ms": ms(response.p99),
    })
}

/// Milliseconds, from whole nanoseconds: 52.4 ms is 52.4.
fn ms(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e6
}
