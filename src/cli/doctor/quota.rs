//! What a control group leaves of the machine: CPU time, which is no mask, and memory. Both
//! versions of control groups; a limit may be any folder's on the way up.

use super::finding::{Finding, Level};
use super::machine::Machine;
use super::serving::Wish;
use crate::limits;

pub(super) fn examine(machine: &Machine, wish: &Wish) -> Vec<Finding> {
    let workers = wish.workers_on(machine.allowed_cpus().as_deref());
    vec![cpu_time(machine, workers), memory(machine, wish, workers)]
}

fn cpu_time(machine: &Machine, workers: usize) -> Finding {
    const SUBJECT: &str = "cpus";
    let name = "CPU quota";
    let Some(groups) = machine.own("cgroup") else { return Finding::unknown(SUBJECT, name) };
    let folders = folders(&groups, "cpu");
    if !folders.iter().any(|folder| machine.has(folder)) {
        return Finding::unknown(SUBJECT, name);
    }
    let quotas = folders.iter().filter_map(|folder| quota(machine, folder));
    let Some(quota) = quotas.min_by(f64::total_cmp) else {
        return Finding::new(SUBJECT, Level::Ok, name, "none");
    };
    let value = format!("{quota:.2} CPUs");
    if workers as f64 <= quota {
        return Finding::new(SUBJECT, Level::Ok, name, value);
    }
    // The quota is positive and less than the number of workers.
    let fit = (quota as usize).max(1);
    let finding = |level| Finding::new(SUBJECT, level, name, &value);
    if workers == 1 {
        return finding(Level::Warn)
            .why("when it is used up the only worker stands still, up to 100 ms: give it a whole");
    }
    finding(Level::Bad)
        .why(format!(
            "a quota is no mask: {workers} workers use it up together and then all stand still, up \
             to 100 ms each time; give whole CPUs (cpuset), or"
        ))
        .command(format!("ringpress serve --workers {fit}"))
}

/// CPUs that a folder's quota is worth.
fn quota(machine: &Machine, folder: &str) -> Option<f64> {
    let (quota, period) = match machine.text(&format!("{folder}/cpu.max")) {
        Some(text) => {
            let (quota, period) = text.split_once(' ')?;
            (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?)
        }
        None => (
            machine.value(&format!("{folder}/cpu.cfs_quota_us"))?,
            machine.value(&format!("{folder}/cpu.cfs_period_us"))?,
        ),
    };
    // `max`, or -1, is none.
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

fn memory(machine: &Machine, wish: &Wish, workers: usize) -> Finding {
    const SUBJECT: &str = "memory";
    let name = "memory for the server";
    let groups = machine.own("cgroup").unwrap_or_default();
    let of_groups = folders(&groups, "memory").into_iter().filter_map(|folder| {
        let limit = machine.value(&format!("{folder}/memory.max"));
        limit.or_else(|| machine.value(&format!("{folder}/memory.limit_in_bytes")))
    });
    let Some(most) = of_groups.chain(all_memory(machine)).min() else {
        return Finding::unknown(SUBJECT, name);
    };
    let workers = workers as u64;
    let caches = wish.cache_bytes.saturating_mul(workers);
    let needed = wish.waiting_bytes.saturating_mul(workers).saturating_add(caches);
    let mib = |bytes: u64| bytes / (1024 * 1024);
    let found = |level| Finding::new(SUBJECT, level, name, format!("{} MiB", mib(most)));
    let remedy = "ringpress serve --memo-max off --cache-max 16MiB";
    if caches >= most {
        found(Level::Bad)
            .why(format!(
                "{workers} workers may keep {} MiB in their caches (cache_max, memo_max): when it \
                 is full, the kernel ends the server",
                mib(caches)
            ))
            .command(remedy)
    } else if needed > most {
        found(Level::Warn)
            .why(format!(
                "full caches and in_flight_max pages that wait take about {} MiB: lower \
                 in_flight_max, or",
                mib(needed)
            ))
            .command(remedy)
    } else {
        found(Level::Ok).why(format!("caches and waiting pages take {} MiB at most", mib(needed)))
    }
}

fn all_memory(machine: &Machine) -> Option<u64> {
    let text = machine.text("proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// Where the limits of one kind may be: in the folder of the process and all above it.
fn folders(groups: &str, controller: &str) -> Vec<String> {
    let mut folders = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let mounts = match controllers {
            "" => vec![MOUNT.to_owned(), format!("{MOUNT}/unified")],
            some if some.split(',').any(|one| one == controller) => {
                vec![format!("{MOUNT}/{controllers}"), format!("{MOUNT}/{controller}")]
            }
            _ => continue,
        };
        let mut path = path.trim_end_matches('/');
        // The folder of the group that we see as the root is there even where its path is not.
        for _ in 0..limits::DOCTOR_GROUPS_DEEP_MAX {
            folders.extend(mounts.iter().map(|mount| format!("{mount}{path}")));
            let Some((above, _)) = path.rsplit_once('/') else { break };
            path = above;
        }
    }
    folders
}

const MOUNT: &str = "sys/fs/cgroup";

#[cfg(test)]
mod tests {
    use super::super::tree::{Tree, verdict};
    use super::*;
    use crate::config::Workers;
    use crate::site::Overrides;

    fn found(files: &[(&str, &str)], workers: usize) -> Vec<Finding> {
        let overrides =
            Overrides { workers: Some(Workers::Count(workers)), ..Overrides::default() };
        examine(&Tree::new(files).machine(), &Wish::usual(&overrides))
    }

    const DEEP: (&str, &str) = ("proc/self/cgroup", "0::/kube/pod/one\n");

    #[test]
    fn the_least_quota_on_the_way_up_counts() {
        let files = [
            DEEP,
            ("sys/fs/cgroup/kube/pod/one/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/kube/pod/cpu.max", "250000 100000\n"),
        ];
        let findings = found(&files, 4);
        let (level, command) = verdict(&findings, "CPU quota");
        assert_eq!((level, command), (Level::Bad, "ringpress serve --workers 2"));
        assert_eq!(verdict(&found(&files, 2), "CPU quota").0, Level::Ok);
        let half = [DEEP, ("sys/fs/cgroup/kube/cpu.max", "50000 100000\n")];
        assert_eq!(verdict(&found(&half, 1), "CPU quota").0, Level::Warn);
    }

    #[test]
    fn version_1_and_namespaces_are_read_too() {
        let old = [
            ("proc/self/cgroup", "3:cpu,cpuacct:/docker/abc\n2:memory:/docker/abc\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "67108864\n"),
        ];
        let findings = found(&old, 2);
        assert_eq!(verdict(&findings, "CPU quota").1, "ringpress serve --workers 1");
        assert_eq!(verdict(&findings, "memory for the server").0, Level::Bad);
        let none = [
            ("proc/self/cgroup", "1:cpu:/\n0::/\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(verdict(&found(&none, 64), "CPU quota").0, Level::Ok);
        assert_eq!(verdict(&found(&[], 64), "CPU quota").0, Level::Note);
    }

    #[test]
    fn memory_is_compared_with_caches_and_waiting_pages() {
        let level = |limit| {
            let files = [DEEP, ("sys/fs/cgroup/kube/memory.max", limit)];
            verdict(&found(&files, 2), "memory for the server").0
        };
        assert_eq!(level("100000000\n"), Level::Bad);
        assert_eq!(level("200000000\n"), Level::Warn);
        assert_eq!(level("2000000000\n"), Level::Ok);
        assert_eq!(level("max\n"), Level::Note);
    }
}
