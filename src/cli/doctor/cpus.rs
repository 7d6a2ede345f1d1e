//! CPUs: which ones workers may use, which share a core or a node, and how fast they run.

use super::finding::{Finding, Level};
use super::machine::{Machine, list, show};
use super::serving::Wish;
use crate::config::Workers;

const SUBJECT: &str = "cpus";
const CPUS: &str = "sys/devices/system/cpu";
const NODES: &str = "sys/devices/system/node";

pub(super) fn examine(machine: &Machine, wish: &Wish) -> Vec<Finding> {
    let Some(allowed) = machine.allowed_cpus().filter(|cpus| !cpus.is_empty()) else {
        return vec![Finding::unknown(SUBJECT, "CPUs that may be used")];
    };
    let cpus = wish.cpus_on(&allowed);
    let mut findings = vec![mask(machine, &allowed), workers(wish, &allowed)];
    findings.push(siblings(machine, &cpus));
    findings.extend(isolated(machine, &allowed));
    findings.push(nodes(machine, &cpus));
    findings.push(governors(machine, &cpus));
    findings
}

fn mask(machine: &Machine, allowed: &[usize]) -> Finding {
    let name = "CPUs that may be used";
    let value = show(allowed);
    match machine.cpus(&format!("{CPUS}/online")) {
        Some(online) if online.len() > allowed.len() => {
            Finding::new(SUBJECT, Level::Note, name, value).why(format!(
                "of {}; the others are not for this process (taskset, cpusets, CPUAffinity=)",
                show(&online)
            ))
        }
        _ => Finding::new(SUBJECT, Level::Ok, name, value),
    }
}

fn workers(wish: &Wish, allowed: &[usize]) -> Finding {
    let name = "workers";
    let count = wish.workers_on(Some(allowed));
    if let Workers::Cpus(cpus) = &wish.workers
        && let Some(cpu) = cpus.iter().find(|cpu| !allowed.contains(cpu))
    {
        return Finding::new(SUBJECT, Level::Bad, name, show(cpus))
            .why(format!("CPU {cpu} may not be used, and the server does not start"))
            .command("ringpress serve --workers all");
    }
    if count > allowed.len() {
        return Finding::new(SUBJECT, Level::Warn, name, count)
            .why(format!("more than the {} CPUs: they take turns", allowed.len()))
            .command("ringpress serve --workers all");
    }
    Finding::new(SUBJECT, Level::Ok, name, count)
}

/// Two threads of a core share its caches and units, and pages are mostly CPU time.
fn siblings(machine: &Machine, cpus: &[usize]) -> Finding {
    let name = "threads of a core";
    let mut first = Vec::new();
    for cpu in cpus {
        let path = format!("{CPUS}/cpu{cpu}/topology/thread_siblings_list");
        let Some(threads) = machine.cpus(&path) else { return Finding::unknown(SUBJECT, name) };
        if !first.iter().any(|other| threads.contains(other)) {
            first.push(*cpu);
        }
    }
    if first.len() == cpus.len() {
        return Finding::new(SUBJECT, Level::Ok, name, "a worker on each core at most");
    }
    let chosen = first.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let comma = if first.len() == 1 { "," } else { "" };
    let value = format!("{} workers on {} cores", cpus.len(), first.len());
    Finding::new(SUBJECT, Level::Note, name, value)
        .why("siblings share caches and units: measure with one worker a core as well")
        .command(format!("ringpress serve --workers {chosen}{comma}"))
}

/// Isolated CPUs are in nobody's mask unless somebody puts them there.
fn isolated(machine: &Machine, allowed: &[usize]) -> Option<Finding> {
    let name = "isolated CPUs";
    let isolated = machine.cpus(&format!("{CPUS}/isolated"))?;
    if isolated.is_empty() {
        return None;
    }
    let value = show(&isolated);
    let unused = isolated.iter().any(|cpu| !allowed.contains(cpu));
    if !unused {
        return Some(Finding::new(SUBJECT, Level::Ok, name, value).why("workers may use them"));
    }
    let finding = Finding::new(SUBJECT, Level::Note, name, &value)
        .why(format!("kept for nobody; if for ringpress, `CPUAffinity={value}` in the unit, or"));
    Some(finding.command(format!("taskset -c {value} ringpress serve")))
}

fn nodes(machine: &Machine, cpus: &[usize]) -> Finding {
    let name = "NUMA nodes";
    let nodes = machine.text(&format!("{NODES}/online")).and_then(|text| list(&text));
    let Some(nodes) = nodes.filter(|nodes| !nodes.is_empty()) else {
        return Finding::unknown(SUBJECT, name);
    };
    let mut used = Vec::new();
    for node in &nodes {
        let own = node_cpus(machine, *node).unwrap_or_default();
        let ours: Vec<usize> = cpus.iter().copied().filter(|cpu| own.contains(cpu)).collect();
        if !ours.is_empty() {
            used.push(format!("node {node}: {}", show(&ours)));
        }
    }
    if used.len() <= 1 {
        return Finding::new(SUBJECT, Level::Ok, name, format!("{} of {}", 1, nodes.len()));
    }
    Finding::new(SUBJECT, Level::Note, name, used.join("; ")).why(
        "workers on several: fine for their memory, but only one is near the network card (see \
         there); or run one ringpress a node",
    )
}

/// The CPUs of a node.
pub(super) fn node_cpus(machine: &Machine, node: usize) -> Option<Vec<usize>> {
    machine.cpus(&format!("{NODES}/node{node}/cpulist"))
}

fn governors(machine: &Machine, cpus: &[usize]) -> Finding {
    let name = "frequency governor";
    let mut others: Vec<String> = Vec::new();
    let mut known = 0;
    for cpu in cpus {
        let path = format!("{CPUS}/cpu{cpu}/cpufreq/scaling_governor");
        let Some(governor) = machine.text(&path) else { continue };
        known += 1;
        if governor != "performance" && !others.contains(&governor) {
            others.push(governor);
        }
    }
    if known == 0 {
        return Finding::unknown(SUBJECT, name).why("most virtual machines do not show it");
    }
    if others.is_empty() {
        return Finding::new(SUBJECT, Level::Ok, name, "performance");
    }
    Finding::new(SUBJECT, Level::Warn, name, others.join(", "))
        .why("clocks that go up and down are the first cause of latencies nobody can explain")
        .command("cpupower frequency-set -g performance")
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Tree, named, verdict};
    use super::*;
    use crate::site::Overrides;

    fn found(files: &[(&str, &str)], workers: Workers) -> Vec<Finding> {
        let overrides = Overrides { workers: Some(workers), ..Overrides::default() };
        examine(&Tree::new(files).machine(), &Wish::usual(&overrides))
    }

    const MASK: (&str, &str) = ("proc/self/status", "Cpus_allowed_list:\t0-3\n");

    #[test]
    fn siblings_are_named_with_one_worker_a_core() {
        let sibling = |cpu: usize| format!("{CPUS}/cpu{cpu}/topology/thread_siblings_list");
        let paths: Vec<String> = (0..4).map(sibling).collect();
        let mut files = vec![MASK];
        files.extend(paths.iter().map(String::as_str).zip(["0,2", "1,3", "0,2", "1,3"]));
        let findings = found(&files, Workers::All);
        let (level, command) = verdict(&findings, "threads of a core");
        assert_eq!((level, command), (Level::Note, "ringpress serve --workers 0,1"));
        let findings = found(&files, Workers::Cpus(vec![2, 3]));
        assert_eq!(verdict(&findings, "threads of a core").0, Level::Ok);
    }

    #[test]
    fn workers_beyond_the_mask_are_bad_or_slow() {
        let findings = found(&[MASK], Workers::Cpus(vec![0, 9]));
        assert_eq!(verdict(&findings, "workers").0, Level::Bad);
        assert_eq!(verdict(&found(&[MASK], Workers::Count(9)), "workers").0, Level::Warn);
        assert_eq!(verdict(&found(&[MASK], Workers::All), "workers").0, Level::Ok);
    }

    #[test]
    fn a_mask_isolation_nodes_and_governors_are_told() {
        let (online, isolated) = (format!("{CPUS}/online"), format!("{CPUS}/isolated"));
        let governor = |cpu: usize| format!("{CPUS}/cpu{cpu}/cpufreq/scaling_governor");
        let (first, second) = (governor(0), governor(1));
        let nodes = [
            format!("{NODES}/online"),
            format!("{NODES}/node0/cpulist"),
            format!("{NODES}/node1/cpulist"),
        ];
        let findings = found(
            &[
                MASK,
                (&online, "0-7\n"),
                (&isolated, "4-7\n"),
                (&first, "performance\n"),
                (&second, "powersave\n"),
                (&nodes[0], "0-1"),
                (&nodes[1], "0-1,4-5"),
                (&nodes[2], "2-3,6-7"),
            ],
            Workers::All,
        );
        assert!(named(&findings, "CPUs that may be used").why.contains("0-7"));
        assert_eq!(verdict(&findings, "isolated CPUs").1, "taskset -c 4-7 ringpress serve");
        assert_eq!(named(&findings, "NUMA nodes").value, "node 0: 0-1; node 1: 2-3");
        assert_eq!(verdict(&findings, "frequency governor").0, Level::Warn);
    }
}
