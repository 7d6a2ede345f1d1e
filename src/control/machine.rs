//! What a process makes of the machine it is on: CPUs, a driver, descriptors.

use crate::driver::kind::{Choice, Kind};
use crate::site::{DriverChoice, Site, UpstreamPlan, Workers};

use super::resolver::Name;

/// The CPU of each worker.
///
/// # Errors
/// When a CPU is not one that this process may use.
pub fn cpus(workers: &Workers) -> Result<Vec<Option<usize>>, String> {
    let mut allowed: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
    allowed.sort_unstable();
    let count = match workers {
        Workers::All => allowed.len().max(1),
        Workers::Count(count) => *count,
        Workers::Cpus(cpus) => {
            if let Some(cpu) = cpus.iter().find(|cpu| !allowed.contains(cpu)) {
                return Err(format!("CPU {cpu} is not one this process may use: {allowed:?}"));
            }
            return Ok(cpus.iter().copied().map(Some).collect());
        }
    };
    // More workers than CPUs: pinned around, which serves nobody but tests.
    Ok((0..count).map(|number| allowed.get(number % allowed.len().max(1)).copied()).collect())
}

/// The driver to serve with. What `auto` passed over is logged, with cause and remedy.
///
/// # Errors
/// When the driver that was named cannot serve here, or none can.
pub fn driver(choice: Choice) -> Result<Kind, String> {
    let (kind, passed_over) = choice.resolve().map_err(|error| error.to_string())?;
    for error in &passed_over {
        tracing::warn!(driver = %kind, "{error}; falling back to {kind}");
    }
    tracing::info!(driver = %kind, chosen_by = %choice, "driver");
    Ok(kind)
}

/// The site file's word for a driver, as a choice.
pub fn choice(driver: DriverChoice) -> Choice {
    match driver {
        DriverChoice::Auto => Choice::Auto,
        DriverChoice::Monoio => Choice::Named(Kind::Monoio),
        DriverChoice::Ring => Choice::Named(Kind::Ring),
        DriverChoice::TokioUring => Choice::Named(Kind::TokioUring),
        DriverChoice::Epoll => Choice::Named(Kind::Epoll),
    }
}

/// The names of a site's upstreams, in its order.
pub fn names(site: &Site) -> Vec<Name> {
    let upstreams = site.upstreams().iter();
    let name = |plan: &UpstreamPlan| Name {
        host: plan.host.clone(),
        port: plan.port,
        addresses: plan.addresses.clone(),
    };
    upstreams.map(name).collect()
}

/// Raises the limit of open files to what this process may have.
pub fn raise_open_files_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "cannot raise the limit of open files");
        }
    }
}

/// Files that this process may have open, and has; none where that cannot be known, or there is
/// no limit.
pub fn open_files() -> Option<(usize, usize)> {
    use rustix::process::{Resource, getrlimit};
    let limit = usize::try_from(getrlimit(Resource::Nofile).current?).ok()?;
    // Without /proc, what a process has open at its start.
    let open = std::fs::read_dir("/proc/self/fd").map_or(OPEN_AT_START, Iterator::count);
    Some((limit, open))
}

/// Standard input, output and error, and what signals come by.
const OPEN_AT_START: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_that_is_not_there_is_an_error_and_too_many_workers_share() {
        assert!(cpus(&Workers::Cpus(vec![99_999])).is_err_and(|error| error.contains("99999")));
        assert_eq!(cpus(&Workers::Count(5)).unwrap().len(), 5);
        assert!(!cpus(&Workers::All).unwrap().is_empty());
    }
}
