//! Options that several commands share, and what they mean.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use crate::config::{self, DriverChoice, Workers};
use crate::control::resolver::Name;
use crate::driver::kind::{Choice, Kind};
use crate::site::{AdminAddress, Site, UpstreamPlan};

/// Where and how to serve; each goes before what the site file says.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ServerOptions {
    /// Address to listen on, several times for several; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", env = "RINGPRESS_LISTEN", value_delimiter = ',',
          value_parser = listen)]
    pub(super) listen: Vec<SocketAddr>,
    /// `all`, a number of workers, or the CPUs to pin them to, as in `0,2,4` (one CPU: `0,`)
    #[arg(long, value_name = "all|N|CPU,CPU,...", env = "RINGPRESS_WORKERS",
          value_parser = workers)]
    pub(super) workers: Option<Workers>,
    /// auto, monoio, tokio-uring or epoll
    #[arg(long, value_name = "DRIVER", env = "RINGPRESS_DRIVER")]
    pub(super) driver: Option<Choice>,
}

/// An address to listen on.
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    config::listen_address(text)
        .ok_or_else(|| "write an IP address and a port, as in 127.0.0.1:8080 or [::]:80".into())
}

/// `--admin`: an address, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AdminChoice(pub(super) Option<AdminAddress>);

/// Reads it.
pub(super) fn admin(text: &str) -> Result<AdminChoice, String> {
    if text == "off" {
        return Ok(AdminChoice(None));
    }
    AdminAddress::parse(text).map(|address| AdminChoice(Some(address))).ok_or_else(|| {
        "write an address as in 127.0.0.1:9180 or unix:/run/ringpress/admin.sock, or `off`".into()
    })
}

/// `--workers`.
fn workers(text: &str) -> Result<Workers, String> {
    const FORM: &str = "write `all`, a number of workers, or CPUs as in `0,2,4` (one CPU: `0,`)";
    if text == "all" {
        return Ok(Workers::All);
    }
    let numbers = text.strip_suffix(',').unwrap_or(text).split(',');
    let numbers: Vec<usize> = numbers
        .map(|number| number.trim().parse().map_err(|_| FORM.to_owned()))
        .collect::<Result<_, _>>()?;
    match numbers.as_slice() {
        [0] if !text.contains(',') => Err(format!("no worker would serve: {FORM}")),
        [count] if !text.contains(',') => Ok(Workers::Count(*count)),
        _ => Ok(Workers::Cpus(numbers)),
    }
}

/// `--upstream`: a name of the site's, and the URL to use for it.
pub(super) fn upstream(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, url)| !name.is_empty() && !url.is_empty());
    pair.map(|(name, url)| (name.to_owned(), url.to_owned())).ok_or_else(|| {
        "write NAME=URL, as in api=http://127.0.0.1:9100 or api=https://staging.example.com".into()
    })
}

/// A time, as in the site file.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    config::parse_duration(text)
        .ok_or_else(|| "write a time with its unit, as in 300us, 50ms, 2s or 1m".into())
}

/// `--memo-max`.
pub(super) fn memo(text: &str) -> Result<u64, String> {
    if text == "off" { Ok(0) } else { size(text) }
}

/// A size in bytes, as in the site file.
pub(super) fn size(text: &str) -> Result<u64, String> {
    config::parse_size(text)
        .ok_or_else(|| "write a size with its unit, as in 512KiB or 60MiB".into())
}

/// The CPU of each worker.
///
/// # Errors
/// When a CPU is not one that this process may use.
pub(super) fn cpus(workers: &Workers) -> Result<Vec<Option<usize>>, String> {
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
pub(super) fn driver(choice: Choice) -> Result<Kind, String> {
    let (kind, passed_over) = choice.resolve().map_err(|error| error.to_string())?;
    for error in &passed_over {
        tracing::warn!(driver = %kind, "{error}; falling back to {kind}");
    }
    tracing::info!(driver = %kind, chosen_by = %choice, "driver");
    Ok(kind)
}

/// The site file's word for a driver, as a choice.
pub(super) fn choice(driver: DriverChoice) -> Choice {
    match driver {
        DriverChoice::Auto => Choice::Auto,
        DriverChoice::Monoio => Choice::Named(Kind::Monoio),
        DriverChoice::TokioUring => Choice::Named(Kind::TokioUring),
        DriverChoice::Epoll => Choice::Named(Kind::Epoll),
    }
}

/// The names of a site's upstreams, in its order.
pub(super) fn names(site: &Site) -> Vec<Name> {
    let upstreams = site.upstreams().iter();
    let name = |plan: &UpstreamPlan| Name {
        host: plan.host.clone(),
        port: plan.port,
        addresses: plan.addresses.clone(),
    };
    upstreams.map(name).collect()
}

/// Raises the limit of open files to what this process may have.
pub(super) fn raise_open_files_limit() {
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
pub(super) fn open_files() -> Option<(usize, usize)> {
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
    fn workers_are_all_a_count_or_cpus() {
        assert_eq!(workers("all"), Ok(Workers::All));
        assert_eq!(workers("3"), Ok(Workers::Count(3)));
        assert_eq!(workers("0,2,4"), Ok(Workers::Cpus(vec![0, 2, 4])));
        assert_eq!(workers("0,"), Ok(Workers::Cpus(vec![0])));
        assert!(workers("0").is_err());
        assert!(workers("some").is_err_and(|error| error.contains("`all`")));
    }

    #[test]
    fn a_cpu_that_is_not_there_is_an_error_and_too_many_workers_share() {
        assert!(cpus(&Workers::Cpus(vec![99_999])).is_err_and(|error| error.contains("99999")));
        assert_eq!(cpus(&Workers::Count(5)).unwrap().len(), 5);
        assert!(!cpus(&Workers::All).unwrap().is_empty());
    }
}
