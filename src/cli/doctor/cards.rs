//! Network cards: their queues, their node, which CPUs their interrupts go to, and what spreads
//! packets beside that.

use super::cpus::node_cpus;
use super::finding::{Finding, Level};
use super::machine::{Machine, show};
use super::serving::Wish;
use crate::limits;

const SUBJECT: &str = "network cards";
const CARDS: &str = "sys/class/net";

pub(super) fn examine(machine: &Machine, wish: &Wish) -> Vec<Finding> {
    let allowed = machine.allowed_cpus().unwrap_or_default();
    let cpus = wish.cpus_on(&allowed);
    let names = machine.names(CARDS).unwrap_or_default();
    let cards: Vec<Card<'_>> =
        names.iter().filter_map(|name| Card::read(machine, name)).take(CARDS_MAX).collect();
    if cards.is_empty() {
        return vec![Finding::unknown(SUBJECT, "queues and interrupts")];
    }
    let mut findings = Vec::new();
    for card in &cards {
        findings.push(card.queues(machine, &cpus));
        findings.extend(card.node(machine, &cpus));
        findings.push(card.interrupts(machine, &cpus));
    }
    findings.push(balancer(machine));
    findings
}

/// Cards that are looked at.
const CARDS_MAX: usize = limits::DOCTOR_CARDS_MAX;

/// A card that is in use.
struct Card<'a> {
    name: &'a str,
    receive: Vec<String>,
    send: Vec<String>,
}

impl<'a> Card<'a> {
    /// `None` for what has no device behind it, as the loopback, or is down.
    fn read(machine: &Machine, name: &'a str) -> Option<Self> {
        let is_down = machine.text(&format!("{CARDS}/{name}/operstate")).as_deref() == Some("down");
        if is_down || !machine.has(&format!("{CARDS}/{name}/device")) {
            return None;
        }
        let queues = machine.names(&format!("{CARDS}/{name}/queues")).unwrap_or_default();
        let (receive, send): (Vec<_>, Vec<_>) =
            queues.into_iter().partition(|queue| queue.starts_with("rx-"));
        Some(Self { name, receive, send })
    }

    fn queues(&self, machine: &Machine, cpus: &[usize]) -> Finding {
        let name = format!("{} queues", self.name);
        let (receive, send) = (self.receive.len(), self.send.len());
        if receive == 0 {
            return Finding::unknown(SUBJECT, name);
        }
        let spreads = self.receive.iter().any(|queue| self.has_mask(machine, queue, "rps_cpus"));
        let value = format!(
            "{receive} to receive, {send} to send{}",
            if spreads { ", and RPS spreads them" } else { "" }
        );
        if receive >= cpus.len() || spreads {
            return Finding::new(SUBJECT, Level::Ok, name, value);
        }
        let level = if cpus.len() / receive >= 4 { Level::Warn } else { Level::Note };
        Finding::new(SUBJECT, level, name, value)
            .why(format!(
                "packets of {} workers come in by {receive} of them: set more queues if the card \
                 has them (`ethtool -L {} combined {}`), or spread packets by RPS",
                cpus.len(),
                self.name,
                cpus.len()
            ))
            .command(self.place(machine, cpus))
    }

    fn has_mask(&self, machine: &Machine, queue: &str, file: &str) -> bool {
        let mask = machine.text(&format!("{CARDS}/{}/queues/{queue}/{file}", self.name));
        mask.is_some_and(|mask| mask.chars().any(|c| c != '0' && c != ','))
    }

    /// A card hangs on one node; workers of another reach it across.
    fn node(&self, machine: &Machine, cpus: &[usize]) -> Option<Finding> {
        let file = |at: &str| machine.value(&format!("{CARDS}/{}/{at}/numa_node", self.name));
        let node: i64 = file("device").or_else(|| file("device/.."))?;
        // -1 is a machine with one node.
        let near = node_cpus(machine, usize::try_from(node).ok()?)?;
        let (ours, far): (Vec<usize>, Vec<usize>) =
            cpus.iter().copied().partition(|cpu| near.contains(cpu));
        let name = format!("{} NUMA node", self.name);
        if far.is_empty() {
            return Some(Finding::new(SUBJECT, Level::Ok, name, node));
        }
        let chosen = if ours.is_empty() { &near } else { &ours };
        let chosen: Vec<String> = chosen.iter().map(usize::to_string).collect();
        let comma = if chosen.len() == 1 { "," } else { "" };
        let finding = Finding::new(SUBJECT, Level::Warn, name, node)
            .why(format!("workers on CPUs {} are on another node and reach it across", show(&far)));
        Some(finding.command(format!("ringpress serve --workers {}{comma}", chosen.join(","))))
    }

    fn interrupts(&self, machine: &Machine, cpus: &[usize]) -> Finding {
        let name = format!("{} interrupts", self.name);
        let numbers = |at: &str| machine.names(&format!("{CARDS}/{}/{at}/msi_irqs", self.name));
        let numbers = numbers("device").or_else(|| numbers("device/..")).unwrap_or_default();
        let mut placed = Vec::new();
        for number in numbers {
            let what = machine.names(&format!("proc/irq/{number}")).unwrap_or_default();
            if what.iter().any(|what| NOT_QUEUES.iter().any(|word| what.contains(word))) {
                continue;
            }
            let file = |name: &str| machine.cpus(&format!("proc/irq/{number}/{name}"));
            let on = file("effective_affinity_list").filter(|cpus| !cpus.is_empty());
            if let Some(on) = on.or_else(|| file("smp_affinity_list")) {
                placed.push((number, on));
            }
        }
        let Some((_, first)) = placed.first() else { return Finding::unknown(SUBJECT, name) };
        let shown = placed.iter().take(SHOWN_MAX);
        let mut value: Vec<String> =
            shown.map(|(number, on)| format!("{number} on {}", show(on))).collect();
        if placed.len() > SHOWN_MAX {
            value.push(format!("and {} more", placed.len() - SHOWN_MAX));
        }
        let together = placed.iter().all(|(_, on)| on == first) && first.len() == 1;
        let value = value.join(", ");
        if placed.len() > 2 && together && cpus.len() > 1 {
            return Finding::new(SUBJECT, Level::Warn, name, value)
                .why("all on one CPU, which has the packets of all workers")
                .command(self.place(machine, cpus));
        }
        Finding::new(SUBJECT, Level::Ok, name, value)
    }

    /// What places queues and interrupts, as it is installed.
    fn place(&self, machine: &Machine, cpus: &[usize]) -> String {
        let installed = machine.has("usr/sbin/ringpress-place-cores");
        let script = if installed { "ringpress-place-cores" } else { "deploy/place-cores" };
        format!("{script} --dry-run --cpus {} {}", show(cpus), self.name)
    }
}

/// Interrupts that are shown; a card may have hundreds.
const SHOWN_MAX: usize = 8;
/// Interrupts of a card that carry no packets.
const NOT_QUEUES: [&str; 4] = ["config", "control", "async", "mgmnt"];

/// A daemon that moves interrupts about.
fn balancer(machine: &Machine) -> Finding {
    let name = "irqbalance";
    let Some(names) = machine.names("proc") else { return Finding::unknown(SUBJECT, name) };
    let mut processes = names.iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
    let runs = processes
        .any(|number| machine.text(&format!("proc/{number}/comm")).as_deref() == Some(name));
    if !runs {
        return Finding::new(SUBJECT, Level::Ok, name, "not seen");
    }
    Finding::new(SUBJECT, Level::Note, name, "runs")
        .why("it moves interrupts, and undoes where they are placed by hand")
        .command("systemctl disable --now irqbalance")
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Tree, named, verdict};
    use super::*;
    use crate::site::Overrides;

    fn found(files: &[(&str, &str)]) -> Vec<Finding> {
        examine(&Tree::new(files).machine(), &Wish::usual(&Overrides::default()))
    }

    const MASK: (&str, &str) = ("proc/self/status", "Cpus_allowed_list:\t0-3\n");

    #[test]
    fn one_queue_for_many_workers_is_spread() {
        let card = [MASK, ("sys/class/net/eth0/device/x", "")];
        let queue = "sys/class/net/eth0/queues/rx-0/rps_cpus";
        let findings = found(&[card[0], card[1], (queue, "0\n")]);
        let (level, command) = verdict(&findings, "eth0 queues");
        assert_eq!(level, Level::Warn);
        assert_eq!(command, "deploy/place-cores --dry-run --cpus 0-3 eth0");
        let findings = found(&[card[0], card[1], (queue, "00000000,0000000f\n")]);
        assert_eq!(verdict(&findings, "eth0 queues").0, Level::Ok);
        let script = ("usr/sbin/ringpress-place-cores", "");
        let findings = found(&[card[0], card[1], (queue, "0"), script]);
        assert!(verdict(&findings, "eth0 queues").1.starts_with("ringpress-place-cores "));
    }

    #[test]
    fn interrupts_on_one_cpu_and_a_far_card_are_warned_of() {
        let findings = found(&[
            MASK,
            ("sys/class/net/eth0/device/numa_node", "1\n"),
            ("sys/devices/system/node/node1/cpulist", "2-3\n"),
            ("sys/class/net/eth0/device/msi_irqs/30", ""),
            ("sys/class/net/eth0/device/msi_irqs/31", ""),
            ("sys/class/net/eth0/device/msi_irqs/32", ""),
            ("sys/class/net/eth0/device/msi_irqs/33", ""),
            ("proc/irq/30/smp_affinity_list", "2\n"),
            ("proc/irq/30/virtio0-config/x", ""),
            ("proc/irq/31/smp_affinity_list", "0-3\n"),
            ("proc/irq/31/effective_affinity_list", "0\n"),
            ("proc/irq/32/smp_affinity_list", "0\n"),
            ("proc/irq/33/smp_affinity_list", "0\n"),
            ("proc/77/comm", "irqbalance\n"),
        ]);
        assert_eq!(verdict(&findings, "eth0 interrupts").0, Level::Warn);
        assert_eq!(named(&findings, "eth0 interrupts").value, "31 on 0, 32 on 0, 33 on 0");
        let far = verdict(&findings, "eth0 NUMA node");
        assert_eq!(far, (Level::Warn, "ringpress serve --workers 2,3"));
        assert_eq!(verdict(&findings, "irqbalance").0, Level::Note);
    }

    #[test]
    fn what_is_no_card_or_down_is_passed_over() {
        let findings = found(&[
            MASK,
            ("sys/class/net/lo/operstate", "unknown\n"),
            ("sys/class/net/eth1/device/x", ""),
            ("sys/class/net/eth1/operstate", "down\n"),
        ]);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].level, Level::Note);
    }
}
