//! `ringpress doctor`: what this machine allows, and what to change, with the command. Each subject
//! is a file that turns texts of /proc and /sys into findings; nothing here changes anything.

mod allowances;
mod cards;
mod cpus;
mod finding;
mod kernel;
mod machine;
mod network;
mod quota;
mod rings;
mod serving;
#[cfg(test)]
mod tree;

use std::path::PathBuf;

use clap::Args;

use crate::driver::kind::Kind;
use crate::site::{Overrides, Site, Source};

use self::finding::{Finding, Level};
use self::machine::Machine;
use self::rings::Probe;
use self::serving::Wish;
use super::options::ServerOptions;
use super::{Exit, fail, say};

/// `ringpress doctor`
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The site to be served: a folder with a site.toml, or the path of one; the defaults if left
    /// out
    #[arg(env = "RINGPRESS_SITE")]
    site: Option<PathBuf>,
    #[command(flatten)]
    server: ServerOptions,
    /// Look at the limits, CPUs and control group of this process instead of the command's own, as
    /// a service often has others than a shell
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let wish = match wish(arguments) {
        Ok(wish) => wish,
        Err(exit) => return exit,
    };
    let machine = Machine::new("/", arguments.pid);
    if let Some(pid) = arguments.pid
        && machine.own("status").is_none()
    {
        return fail(format_args!("there is no process {pid}, or it is not ours to look at"));
    }
    let findings = examine(&machine, &wish, &probes());
    if arguments.json {
        say(finding::json(&findings));
    } else {
        say(finding::text(&findings));
    }
    if finding::worst(&findings) == Level::Bad { Exit::Failed } else { Exit::Fine }
}

/// What is to be served: a site's, or the defaults.
fn wish(arguments: &Arguments) -> Result<Wish, Exit> {
    let options = &arguments.server;
    let overrides = Overrides {
        listen: (!options.listen.is_empty()).then(|| options.listen.clone()),
        workers: options.workers.clone(),
        ..Overrides::default()
    };
    let mut wish = match &arguments.site {
        None => Wish::usual(&overrides),
        Some(site) => match Site::load_with(&Source::Folder(site.clone()), &overrides) {
            Ok(site) => Wish::of(&site),
            Err(report) => {
                eprintln!("{report}");
                return Err(Exit::Configuration);
            }
        },
    };
    if let Some(driver) = options.driver {
        wish.driver = driver;
    }
    Ok(wish)
}

/// The self-test of each driver that this build has.
fn probes() -> Vec<Probe> {
    let compiled = Kind::ALL.into_iter().filter(|kind| kind.is_compiled());
    compiled
        .map(|kind| Probe {
            kind,
            refused: kind.self_test().err().map(|error| error.to_string()),
            descriptors_a_connect: kind.descriptors_a_connect(),
        })
        .collect()
}

/// All findings, subject by subject.
fn examine(machine: &Machine, wish: &Wish, probes: &[Probe]) -> Vec<Finding> {
    let mut findings = kernel::examine(machine);
    findings.extend(rings::examine(machine, wish, probes));
    findings.extend(allowances::examine(machine, wish, rings::descriptors_a_connect(wish, probes)));
    findings.extend(cpus::examine(machine, wish));
    findings.extend(quota::examine(machine, wish));
    findings.extend(network::examine(machine, wish));
    findings.extend(cards::examine(machine, wish));
    findings.extend(serving::examine(machine, wish));
    findings
}

#[cfg(test)]
mod tests {
    use super::tree::Tree;
    use super::*;

    fn well(kind: Kind) -> Probe {
        Probe { kind, refused: None, descriptors_a_connect: 1 }
    }

    #[test]
    fn a_machine_that_shows_nothing_fails_nothing() {
        let tree = Tree::new(&[]);
        let findings =
            examine(&tree.machine(), &Wish::usual(&Overrides::default()), &[well(Kind::Epoll)]);
        assert_ne!(finding::worst(&findings), Level::Bad, "{}", finding::text(&findings));
        assert!(finding::text(&findings).matches("cannot be known here").count() > 8);
    }

    #[test]
    fn this_machine_is_examined_whatever_it_is() {
        let machine = Machine::new("/", None);
        let findings = examine(&machine, &Wish::usual(&Overrides::default()), &probes());
        let subjects = ["kernel", "io_uring", "files", "cpus", "memory", "network", "serving"];
        for subject in subjects {
            assert!(findings.iter().any(|one| one.subject == subject), "{subject}: {findings:?}");
        }
    }
}
