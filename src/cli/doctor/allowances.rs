//! Open files: what the process may have, what the kernel has at all, and what is needed.

use super::finding::{Finding, Level};
use super::machine::Machine;
use super::serving::Wish;
use crate::control::descriptors::Wanted;
use crate::limits;

const SUBJECT: &str = "files";

/// `each` is what a connection to an upstream takes.
pub(super) fn examine(machine: &Machine, wish: &Wish, each: usize) -> Vec<Finding> {
    let workers = wish.workers_on(machine.allowed_cpus().as_deref());
    let limit = machine.limit("Max open files");
    let open_max =
        limit.map_or(usize::MAX, |(_, hard)| usize::try_from(hard).unwrap_or(usize::MAX));
    let wanted = Wanted {
        open_max,
        open: machine.open_files(),
        workers,
        listeners: wish.listen.len(),
        connections_max: wish.connections_max,
        upstreams: &wish.upstreams,
        checked: wish.checked,
        each,
    };
    let needed = wanted.shares().open_needed;
    let own = match limit {
        Some((soft, hard)) => own(machine, &wanted, soft, hard),
        None => Finding::unknown(SUBJECT, OWN),
    };
    vec![own, all(machine, needed)]
}

const OWN: &str = "RLIMIT_NOFILE";

/// The process's own limit. The soft one does not matter: `serve` raises it to the hard one.
fn own(machine: &Machine, wanted: &Wanted<'_>, soft: u64, hard: u64) -> Finding {
    let shares = wanted.shares();
    let value = match (soft, hard) {
        (_, u64::MAX) => "unlimited".to_owned(),
        (soft, hard) if soft == hard => hard.to_string(),
        (soft, hard) => format!("{hard} (soft {soft}, which serve raises)"),
    };
    let (workers, needed) = (wanted.workers, shares.open_needed);
    let upstreams_are_lowered = shares.upstreams.as_slice() != wanted.upstreams;
    if shares.connections_max >= wanted.connections_max && !upstreams_are_lowered {
        return Finding::new(SUBJECT, Level::Ok, OWN, value).why(format!("{needed} are needed"));
    }
    let few = shares.connections_max < limits::DOCTOR_CONNECTIONS_FEW.min(wanted.connections_max);
    let level = if few { Level::Bad } else { Level::Warn };
    let nr_open: Option<usize> = machine.setting("fs.nr_open").and_then(|text| text.parse().ok());
    let raise = match nr_open {
        Some(most) if most < needed => format!("sysctl -w fs.nr_open={needed} && "),
        _ => String::new(),
    };
    Finding::new(SUBJECT, level, OWN, value)
        .why(format!(
            "for connections_max and max_connections on {workers} workers it takes {needed}; as it \
             is, a worker takes {} visitors; `LimitNOFILE={needed}` in the unit, or",
            shares.connections_max
        ))
        .command(format!("{raise}ulimit -n {needed}"))
}

/// What all processes together may have.
fn all(machine: &Machine, needed: usize) -> Finding {
    const NAME: &str = "fs.file-max";
    let most = machine.setting(NAME).and_then(|text| text.parse::<u64>().ok());
    let Some(most) = most else { return Finding::unknown(SUBJECT, NAME) };
    // `file-nr` begins with how many are in use now.
    let used = machine
        .setting("fs.file-nr")
        .and_then(|text| text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok()));
    let needed = (needed as u64).saturating_add(used.unwrap_or(0));
    if needed <= most {
        return Finding::new(SUBJECT, Level::Ok, NAME, most);
    }
    Finding::new(SUBJECT, Level::Warn, NAME, most)
        .why(format!("of all processes; with the server's there may be {needed}"))
        .command(format!("sysctl -w {NAME}={needed}"))
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Tree, named, verdict};
    use super::*;
    use crate::config::Workers;
    use crate::site::Overrides;

    fn found(soft: &str, hard: &str, workers: usize, more: &[(&str, &str)]) -> Vec<Finding> {
        let limits = format!("Max open files            {soft}      {hard}      files\n");
        let mut files = vec![("proc/self/limits", limits.as_str())];
        files.extend(more);
        let overrides =
            Overrides { workers: Some(Workers::Count(workers)), ..Overrides::default() };
        examine(&Tree::new(&files).machine(), &Wish::usual(&overrides), 1)
    }

    #[test]
    fn enough_is_fine_whatever_the_soft_limit_is() {
        let findings = found("1024", "1048576", 2, &[]);
        assert_eq!(verdict(&findings, OWN).0, Level::Ok);
        assert!(named(&findings, OWN).value.contains("soft 1024"));
        assert_eq!(verdict(&found("unlimited", "unlimited", 8, &[]), OWN).0, Level::Ok);
    }

    #[test]
    fn too_few_are_raised_to_what_would_do() {
        let nr_open = ("proc/sys/fs/nr_open", "1048576\n");
        let findings = found("20000", "20000", 2, &[nr_open]);
        let (level, command) = verdict(&findings, OWN);
        assert_eq!(level, Level::Warn);
        let needed: u64 = command.strip_prefix("ulimit -n ").unwrap().parse().unwrap();
        let enough = found("20000", &needed.to_string(), 2, &[nr_open]);
        assert_eq!(verdict(&enough, OWN).0, Level::Ok);
        // Over what the kernel lets a process have, that is raised first.
        let findings = found("20000", "20000", 64, &[nr_open]);
        assert!(verdict(&findings, OWN).1.starts_with("sysctl -w fs.nr_open="));
        assert_eq!(verdict(&found("256", "256", 2, &[]), OWN).0, Level::Bad);
    }

    #[test]
    fn the_machine_needs_room_beside_what_is_open() {
        let most = ("proc/sys/fs/file-max", "300000\n");
        let level = |used| {
            let findings = found("1", "1048576", 2, &[most, ("proc/sys/fs/file-nr", used)]);
            verdict(&findings, "fs.file-max").0
        };
        assert_eq!(level("100\t0\t300000"), Level::Ok);
        assert_eq!(level("250000\t0\t300000"), Level::Warn);
    }
}
