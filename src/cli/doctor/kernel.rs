//! The kernel: its version, its clock, its huge pages.

use super::finding::{Finding, Level};
use super::machine::Machine;

const SUBJECT: &str = "kernel";
const CLOCK: &str = "sys/devices/system/clocksource/clocksource0";

pub(super) fn examine(machine: &Machine) -> Vec<Finding> {
    vec![release(machine), clock(machine), huge_pages(machine)]
}

fn release(machine: &Machine) -> Finding {
    let release = machine.setting("kernel.osrelease");
    let (Some(release), Some(version)) = (release, machine.version()) else {
        return Finding::unknown(SUBJECT, "release");
    };
    let found = |level| Finding::new(SUBJECT, level, "release", &release);
    match version {
        (6, 1..) | (7.., _) => found(Level::Ok)
            .why("io_uring with SINGLE_ISSUER, COOP_TASKRUN and DEFER_TASKRUN (from 6.1 on)"),
        (6, 0) | (5, 11..) => found(Level::Note).why(
            "io_uring serves, but for DEFER_TASKRUN, which makes it cheaper, it takes Linux 6.1; \
             some distributions have it earlier",
        ),
        _ => found(Level::Warn)
            .why("io_uring serves from Linux 5.11 on, and best from 6.1 on; epoll serves here"),
    }
}

/// Every request reads the clock several times.
fn clock(machine: &Machine) -> Finding {
    let Some(current) = machine.text(&format!("{CLOCK}/current_clocksource")) else {
        return Finding::unknown(SUBJECT, "clocksource");
    };
    let found = |level| Finding::new(SUBJECT, level, "clocksource", &current);
    if READ_IN_USER_SPACE.contains(&current.as_str()) {
        return found(Level::Ok).why("read without a system call");
    }
    let slow = found(Level::Warn).why(
        "reading it takes a system call or a slow device, several times a page; the kernel says \
         why it did not take the CPU's own counter",
    );
    let available = machine.text(&format!("{CLOCK}/available_clocksource")).unwrap_or_default();
    let better = READ_IN_USER_SPACE
        .iter()
        .find(|name| available.split_whitespace().any(|there| there == **name));
    match better {
        Some(better) => slow.command(format!("echo {better} > /{CLOCK}/current_clocksource")),
        None => slow.command("dmesg | grep -i -e tsc -e clocksource"),
    }
}

fn huge_pages(machine: &Machine) -> Finding {
    const FILE: &str = "sys/kernel/mm/transparent_hugepage/enabled";
    let name = "transparent huge pages";
    let Some(text) = machine.text(FILE) else { return Finding::unknown(SUBJECT, name) };
    let chosen = text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    match chosen {
        Some("always") => Finding::new(SUBJECT, Level::Note, name, "always")
            .why("memory of many small connections may be held in pages of 2 MiB; if it grows, try")
            .command(format!("echo madvise > /{FILE}")),
        Some(other) => Finding::new(SUBJECT, Level::Ok, name, other),
        None => Finding::unknown(SUBJECT, name),
    }
}

/// Clocks that the C library reads without asking the kernel.
const READ_IN_USER_SPACE: [&str; 5] =
    ["tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "riscv_clocksource"];

#[cfg(test)]
mod tests {
    use super::super::tree::{Tree, verdict};
    use super::*;

    #[test]
    fn old_kernels_are_told_from_new_ones() {
        let level = |release| {
            let tree = Tree::new(&[("proc/sys/kernel/osrelease", release)]);
            verdict(&examine(&tree.machine()), "release").0
        };
        assert_eq!(level("6.18.44-fc\n"), Level::Ok);
        assert_eq!(level("7.0.1"), Level::Ok);
        assert_eq!(level("6.0.9"), Level::Note);
        assert_eq!(level("5.15.0-91-generic"), Level::Note);
        assert_eq!(level("5.4.0"), Level::Warn);
        assert_eq!(level("4.19"), Level::Warn);
        assert_eq!(level("what"), Level::Note);
    }

    #[test]
    fn a_slow_clock_is_replaced_if_there_is_a_better_one() {
        let clock = |current, available| {
            let tree = Tree::new(&[
                (&format!("{CLOCK}/current_clocksource"), current),
                (&format!("{CLOCK}/available_clocksource"), available),
            ]);
            let findings = examine(&tree.machine());
            let (level, command) = verdict(&findings, "clocksource");
            (level, command.to_owned())
        };
        assert_eq!(clock("tsc\n", "tsc hpet").0, Level::Ok);
        let (level, command) = clock("hpet\n", "hpet tsc acpi_pm\n");
        assert_eq!(level, Level::Warn);
        assert_eq!(command, format!("echo tsc > /{CLOCK}/current_clocksource"));
        assert!(clock("acpi_pm", "acpi_pm").1.starts_with("dmesg"));
    }

    #[test]
    fn huge_pages_everywhere_are_noted() {
        let tree =
            Tree::new(&[("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never")]);
        let findings = examine(&tree.machine());
        let (level, command) = verdict(&findings, "transparent huge pages");
        assert_eq!(level, Level::Note);
        assert!(command.starts_with("echo madvise"));
    }
}
