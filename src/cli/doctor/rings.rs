//! Whether rings are allowed, and what forbids them; and each driver's own self-test.

use super::finding::{Finding, Level};
use super::machine::Machine;
use super::serving::Wish;
use crate::driver::kind::{Choice, Kind};
use crate::limits;

const SUBJECT: &str = "io_uring";
/// CAP_SYS_ADMIN: may have rings where others may not.
const ADMINISTRATOR: u32 = 21;

/// How the self-test of a driver went.
pub(super) struct Probe {
    pub(super) kind: Kind,
    /// Cause and remedy, if it cannot serve.
    pub(super) refused: Option<String>,
    /// Descriptors that a connection to an upstream takes on it.
    pub(super) descriptors_a_connect: usize,
}

pub(super) fn examine(machine: &Machine, wish: &Wish, probes: &[Probe]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = probes.iter().map(|probe| tested(probe, wish)).collect();
    if let Choice::Named(kind) = wish.driver
        && !probes.iter().any(|probe| probe.kind == kind)
    {
        let finding = Finding::new(SUBJECT, Level::Bad, format!("driver {kind}"), "not built in");
        findings.push(finding.why(format!("the site wants it: build with `--features {kind}`")));
    }
    if !probes.iter().any(|probe| probe.refused.is_none()) {
        let none = Finding::new(SUBJECT, Level::Bad, "drivers that can serve", "none");
        findings.push(none.why("the server does not start"));
    }
    findings.push(switch(machine));
    findings.push(filter(machine, probes));
    findings.push(locked_memory(machine, wish));
    findings
}

/// What a connection to an upstream takes on the driver that would serve.
pub(super) fn descriptors_a_connect(wish: &Wish, probes: &[Probe]) -> usize {
    let chosen = match wish.driver {
        Choice::Named(kind) => probes.iter().find(|probe| probe.kind == kind),
        Choice::Auto => Kind::AUTO.iter().find_map(|kind| {
            probes.iter().find(|probe| probe.kind == *kind && probe.refused.is_none())
        }),
    };
    chosen.map_or(1, |probe| probe.descriptors_a_connect)
}

fn tested(probe: &Probe, wish: &Wish) -> Finding {
    let name = format!("driver {}", probe.kind);
    match &probe.refused {
        None => Finding::new(SUBJECT, Level::Ok, name, "passes its self-test"),
        Some(refused) => {
            let level = match wish.driver {
                Choice::Named(kind) if kind == probe.kind => Level::Bad,
                Choice::Auto if probe.kind == Kind::Monoio => Level::Warn,
                _ => Level::Note,
            };
            Finding::new(SUBJECT, level, name, "fails its self-test").why(refused)
        }
    }
}

fn switch(machine: &Machine) -> Finding {
    const NAME: &str = "kernel.io_uring_disabled";
    let Some(value) = machine.setting(NAME) else {
        return match machine.version() {
            Some(version) if version < (6, 6) => {
                Finding::new(SUBJECT, Level::Ok, NAME, "no such switch before Linux 6.6")
            }
            _ => Finding::unknown(SUBJECT, NAME),
        };
    };
    let found = |level| Finding::new(SUBJECT, level, NAME, &value);
    let remedy = format!("sysctl -w {NAME}=0");
    match value.as_str() {
        "0" => found(Level::Ok).why("rings for everybody"),
        "1" if is_in_group(machine) || machine.is_capable(ADMINISTRATOR) == Some(true) => {
            found(Level::Ok).why("rings for the group of kernel.io_uring_group, which this is of")
        }
        "1" => {
            let group = machine.setting("kernel.io_uring_group").unwrap_or_default();
            found(Level::Warn)
                .why(format!(
                    "rings for the group of kernel.io_uring_group ({group}) only: take the server \
                     in (SupplementaryGroups= in the unit), or have them for all"
                ))
                .command(remedy)
        }
        _ => found(Level::Warn).why("rings for nobody: epoll serves").command(remedy),
    }
}

fn is_in_group(machine: &Machine) -> bool {
    let Some(group) = machine.setting("kernel.io_uring_group") else { return false };
    let fields = ["Gid", "Groups"].into_iter().filter_map(|field| machine.status(field));
    fields.into_iter().any(|groups| groups.split_whitespace().any(|one| one == group))
}

/// A filter in front of system calls: a container's, or systemd's.
fn filter(machine: &Machine, probes: &[Probe]) -> Finding {
    const NAME: &str = "seccomp";
    let ring = probes.iter().any(|probe| probe.kind != Kind::Epoll && probe.refused.is_none());
    match machine.status("Seccomp").as_deref() {
        Some("0") => Finding::new(SUBJECT, Level::Ok, NAME, "no filter"),
        Some(_) if ring => Finding::new(SUBJECT, Level::Ok, NAME, "a filter that allows rings"),
        Some(_) => Finding::new(SUBJECT, Level::Note, NAME, "a filter").why(
            "if rings are refused, it may be by this one: deploy/README.md says how to add the \
             three calls",
        ),
        None => Finding::unknown(SUBJECT, NAME),
    }
}

/// Old kernels count rings as locked memory, and a few of them are over the usual 64 KiB.
fn locked_memory(machine: &Machine, wish: &Wish) -> Finding {
    const NAME: &str = "RLIMIT_MEMLOCK";
    let Some((_, hard)) = machine.limit("Max locked memory") else {
        return Finding::unknown(SUBJECT, NAME);
    };
    let value = match hard {
        u64::MAX => "unlimited".to_owned(),
        bytes => format!("{} KiB", bytes / 1024),
    };
    let workers = wish.workers_on(machine.allowed_cpus().as_deref()) as u64;
    let needed = workers.saturating_mul(limits::RING_BYTES_MAX);
    let found = |level| Finding::new(SUBJECT, level, NAME, &value);
    match machine.version() {
        Some(version) if version < (5, 12) && hard < needed => found(Level::Warn)
            .why(format!(
                "before Linux 5.12 rings count as locked memory, and those of {workers} workers \
                 take up to {} KiB; `LimitMEMLOCK=infinity` in the unit, or",
                needed / 1024
            ))
            .command("ulimit -l unlimited"),
        Some(version) if version < (5, 12) => found(Level::Ok),
        Some(_) => found(Level::Ok).why("rings do not count from Linux 5.12 on"),
        None => found(Level::Note),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Tree, named, verdict};
    use super::*;
    use crate::site::Overrides;

    fn probe(kind: Kind, refused: Option<&str>) -> Probe {
        Probe { kind, refused: refused.map(str::to_owned), descriptors_a_connect: 2 }
    }

    fn wish(driver: Choice) -> Wish {
        Wish { driver, ..Wish::usual(&Overrides::default()) }
    }

    #[test]
    fn a_driver_that_fails_is_as_bad_as_it_is_wanted() {
        let tree = Tree::new(&[]);
        let probes = [probe(Kind::Monoio, Some("forbidden; allow it")), probe(Kind::Epoll, None)];
        let level = |driver| {
            let findings = examine(&tree.machine(), &wish(driver), &probes);
            assert_eq!(named(&findings, "driver monoio").why, "forbidden; allow it");
            verdict(&findings, "driver monoio").0
        };
        assert_eq!(level(Choice::Auto), Level::Warn);
        assert_eq!(level(Choice::Named(Kind::Monoio)), Level::Bad);
        assert_eq!(level(Choice::Named(Kind::Epoll)), Level::Note);
        let named_other = wish(Choice::Named(Kind::TokioUring));
        let findings = examine(&tree.machine(), &named_other, &probes);
        assert_eq!(named(&findings, "driver tokio-uring").value, "not built in");
        assert_eq!(descriptors_a_connect(&wish(Choice::Auto), &probes), 2);
        let findings = examine(&tree.machine(), &wish(Choice::Auto), &[]);
        assert_eq!(verdict(&findings, "drivers that can serve").0, Level::Bad);
    }

    #[test]
    fn the_switch_and_its_group() {
        let level = |files: &[(&str, &str)]| {
            let findings = examine(&Tree::new(files).machine(), &wish(Choice::Auto), &[]);
            let (level, command) = verdict(&findings, "kernel.io_uring_disabled");
            (level, command.to_owned())
        };
        let disabled = |value| ("proc/sys/kernel/io_uring_disabled", value);
        let group = ("proc/sys/kernel/io_uring_group", "990\n");
        assert_eq!(level(&[disabled("0\n")]).0, Level::Ok);
        let nobody = level(&[disabled("2\n")]);
        assert_eq!(nobody, (Level::Warn, "sysctl -w kernel.io_uring_disabled=0".to_owned()));
        let outside = ("proc/self/status", "Gid:\t1 1 1 1\nGroups:\t4 27\nCapEff:\t00");
        assert_eq!(level(&[disabled("1"), group, outside]).0, Level::Warn);
        let inside = ("proc/self/status", "Gid:\t1 1 1 1\nGroups:\t4 990\nCapEff:\t00");
        assert_eq!(level(&[disabled("1"), group, inside]).0, Level::Ok);
        assert_eq!(level(&[("proc/sys/kernel/osrelease", "6.1.0")]).0, Level::Ok);
        assert_eq!(level(&[("proc/sys/kernel/osrelease", "6.8.0")]).0, Level::Note);
    }

    #[test]
    fn a_filter_is_named_if_no_ring_works() {
        let tree = Tree::new(&[("proc/self/status", "Seccomp:\t2\n")]);
        let level = |refused| {
            let probes = [probe(Kind::Monoio, refused)];
            verdict(&examine(&tree.machine(), &wish(Choice::Auto), &probes), "seccomp").0
        };
        assert_eq!(level(None), Level::Ok);
        assert_eq!(level(Some("EPERM")), Level::Note);
    }

    #[test]
    fn locked_memory_matters_to_old_kernels() {
        let level = |release, limit| {
            let limits = format!("Max locked memory   {limit}   {limit}   bytes\n");
            let files =
                [("proc/sys/kernel/osrelease", release), ("proc/self/limits", limits.as_str())];
            let findings = examine(&Tree::new(&files).machine(), &wish(Choice::Auto), &[]);
            verdict(&findings, "RLIMIT_MEMLOCK").0
        };
        assert_eq!(level("5.11.0", "65536"), Level::Warn);
        assert_eq!(level("5.11.0", "unlimited"), Level::Ok);
        assert_eq!(level("6.1.0", "65536"), Level::Ok);
    }
}
