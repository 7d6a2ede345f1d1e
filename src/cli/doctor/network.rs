//! Kernel settings for sockets. What they should be is the same as in deploy/sysctl.conf.

use super::finding::{Finding, Level};
use super::machine::Machine;
use super::serving::Wish;
use crate::limits;

const SUBJECT: &str = "network";

pub(super) fn examine(machine: &Machine, wish: &Wish) -> Vec<Finding> {
    let mut findings = vec![
        at_least(machine, &BACKLOG),
        at_least(machine, &HALF_OPEN),
        ports(machine),
        reuse(machine),
        slow_start(machine),
    ];
    findings.extend(tracking(machine, wish));
    findings
}

/// A setting that should not be lower than a figure.
struct AtLeast {
    name: &'static str,
    /// Below this it is noted, and below the second warned of.
    good: u64,
    fair: u64,
    why: &'static str,
}

const BACKLOG: AtLeast = AtLeast {
    name: "net.core.somaxconn",
    good: limits::LISTEN_BACKLOG.unsigned_abs() as u64,
    fair: limits::LISTEN_BACKLOG.unsigned_abs() as u64,
    why: "the kernel cuts a listener's backlog to it; what comes in a burst and is over it is \
          dropped, and tries again a second later",
};

const HALF_OPEN: AtLeast = AtLeast {
    name: "net.ipv4.tcp_max_syn_backlog",
    good: 8192,
    fair: 1024,
    why: "half-open connections over it are dropped, or answered by cookies, which cost options",
};

fn at_least(machine: &Machine, wanted: &AtLeast) -> Finding {
    let AtLeast { name, good, fair, why } = *wanted;
    let value = machine.setting(name).and_then(|text| text.parse::<u64>().ok());
    let Some(value) = value else { return Finding::unknown(SUBJECT, name) };
    let level = match value {
        value if value >= good => return Finding::new(SUBJECT, Level::Ok, name, value),
        value if value >= fair => Level::Note,
        _ => Level::Warn,
    };
    let finding = Finding::new(SUBJECT, level, name, value).why(why);
    finding.command(format!("sysctl -w {name}={good}"))
}

/// Every connection to one address of an upstream takes a port of ours.
fn ports(machine: &Machine) -> Finding {
    const NAME: &str = "net.ipv4.ip_local_port_range";
    let text = machine.setting(NAME).unwrap_or_default();
    let mut ends = text.split_whitespace().map(str::parse::<u32>);
    let (Some(Ok(first)), Some(Ok(last))) = (ends.next(), ends.next()) else {
        return Finding::unknown(SUBJECT, NAME);
    };
    let count = (last + 1).saturating_sub(first);
    let level = match count {
        PORTS_MANY.. => {
            return Finding::new(SUBJECT, Level::Ok, NAME, format!("{first} {last}"));
        }
        PORTS_FEW.. => Level::Note,
        _ => Level::Warn,
    };
    Finding::new(SUBJECT, level, NAME, format!("{first} {last}"))
        .why(format!("no more than {count} connections to one address of an upstream"))
        .command(format!("sysctl -w {NAME}=\"10240 65535\""))
}

const PORTS_MANY: u32 = 50_000;
const PORTS_FEW: u32 = 20_000;

fn reuse(machine: &Machine) -> Finding {
    const NAME: &str = "net.ipv4.tcp_tw_reuse";
    let Some(value) = machine.setting(NAME) else { return Finding::unknown(SUBJECT, NAME) };
    if value == "1" {
        return Finding::new(SUBJECT, Level::Ok, NAME, value);
    }
    Finding::new(SUBJECT, Level::Note, NAME, value)
        .why(
            "a new connection to an upstream does not take a port that waits in TIME_WAIT (at 2: \
             on loopback only); matters for APIs that close often",
        )
        .command(format!("sysctl -w {NAME}=1"))
}

fn slow_start(machine: &Machine) -> Finding {
    const NAME: &str = "net.ipv4.tcp_slow_start_after_idle";
    let Some(value) = machine.setting(NAME) else { return Finding::unknown(SUBJECT, NAME) };
    if value == "0" {
        return Finding::new(SUBJECT, Level::Ok, NAME, value);
    }
    Finding::new(SUBJECT, Level::Note, NAME, value)
        .why("a large page on a connection that was quiet takes more round trips")
        .command(format!("sysctl -w {NAME}=0"))
}

/// A firewall that follows connections has a table of them. Without one there is nothing to find.
fn tracking(machine: &Machine, wish: &Wish) -> Option<Finding> {
    const NAME: &str = "net.netfilter.nf_conntrack_max";
    let most: u64 = machine.setting(NAME)?.parse().ok()?;
    let workers = wish.workers_on(machine.allowed_cpus().as_deref());
    let visitors = wish.connections_max.saturating_mul(workers);
    let needed = wish.upstreams.iter().fold(visitors, |sum, one| sum.saturating_add(*one)) as u64;
    if most >= needed {
        return Some(Finding::new(SUBJECT, Level::Ok, NAME, most));
    }
    let finding = Finding::new(SUBJECT, Level::Warn, NAME, most).why(format!(
        "the firewall follows no more connections and drops the packets of others; visitors and \
         upstreams may be {needed}"
    ));
    Some(finding.command(format!("sysctl -w {NAME}={needed}")))
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Tree, verdict};
    use super::*;
    use crate::site::Overrides;

    fn found(files: &[(&str, &str)]) -> Vec<Finding> {
        examine(&Tree::new(files).machine(), &Wish::usual(&Overrides::default()))
    }

    const NARROW: [(&str, &str); 5] = [
        ("proc/sys/net/core/somaxconn", "128\n"),
        ("proc/sys/net/ipv4/tcp_max_syn_backlog", "512\n"),
        ("proc/sys/net/ipv4/ip_local_port_range", "40000\t50000\n"),
        ("proc/sys/net/ipv4/tcp_tw_reuse", "2\n"),
        ("proc/sys/net/ipv4/tcp_slow_start_after_idle", "1\n"),
    ];

    #[test]
    fn narrow_settings_are_widened_as_our_file_has_them() {
        let findings = found(&NARROW);
        let file = include_str!("../../../deploy/sysctl.conf");
        for finding in &findings {
            let command = finding.command.as_deref().unwrap();
            let (name, value) =
                command.strip_prefix("sysctl -w ").unwrap().split_once('=').unwrap();
            let line = format!("{name} = {}", value.trim_matches('"'));
            assert!(file.lines().any(|one| one == line), "{line}");
        }
        assert_eq!(findings.len(), NARROW.len());
        assert_eq!(verdict(&findings, "net.core.somaxconn").0, Level::Warn);
        assert_eq!(verdict(&findings, "net.ipv4.ip_local_port_range").0, Level::Warn);
        assert_eq!(verdict(&findings, "net.ipv4.tcp_tw_reuse").0, Level::Note);
    }

    #[test]
    fn the_values_of_our_file_are_fine() {
        let findings = found(&[
            ("proc/sys/net/core/somaxconn", "4096\n"),
            ("proc/sys/net/ipv4/tcp_max_syn_backlog", "8192\n"),
            ("proc/sys/net/ipv4/ip_local_port_range", "10240\t65535\n"),
            ("proc/sys/net/ipv4/tcp_tw_reuse", "1\n"),
            ("proc/sys/net/ipv4/tcp_slow_start_after_idle", "0\n"),
            ("proc/sys/net/netfilter/nf_conntrack_max", "1048576\n"),
        ]);
        assert_eq!(findings.len(), 6);
        assert!(findings.iter().all(|finding| finding.level == Level::Ok), "{findings:?}");
    }

    #[test]
    fn a_small_table_of_connections_is_named() {
        let findings = found(&[("proc/sys/net/netfilter/nf_conntrack_max", "65536\n")]);
        let (level, command) = verdict(&findings, "net.netfilter.nf_conntrack_max");
        assert_eq!(
            (level, command),
            (Level::Warn, "sysctl -w net.netfilter.nf_conntrack_max=131072")
        );
    }
}
