//! The benchmark: every contender on the same pages, one after the other, round by round.
//!
//! `cargo bench --bench matrix` runs all of it, about an hour; `-- A B monoio axum-askama` some
//! scenarios and some contenders; `-- --short` everything for a moment, to see that it works.
//! bench/README.md says how it measures and what it does not claim.

#![expect(clippy::disallowed_methods, reason = "no worker runs in this program: it may sleep")]

mod aims;
mod arena;
mod contender;
mod forecast;
mod frame;
mod machine;
mod measure;
mod pages;
mod prepare;
mod process;
mod record;
mod report;
mod scenario;
mod session;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use contender::{Contender, GUIDED};
use machine::Machine;
use record::Results;
use scenario::{Profile, Scenario};
use session::Session;

/// Measures ringpress, its drivers, the floor and its peers on the same pages.
#[derive(Parser)]
#[command(name = "cargo bench --bench matrix --", bin_name = "cargo bench --bench matrix --")]
struct Arguments {
    /// Scenarios (A to H, or B2 for the second point of B), contenders or groups of them; all of
    /// what is not named
    #[arg(value_name = "SCENARIO|CONTENDER")]
    what: Vec<String>,
    /// Everything once, for a moment: shape, not speed
    #[arg(long)]
    short: bool,
    /// Rounds at each point, instead of the scenario's own number
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Length of a window, instead of the scenario's own
    #[arg(long, value_parser = seconds)]
    seconds: Option<f64>,
    /// Compare everyone's pages with ours, and measure nothing
    #[arg(long)]
    pages: bool,
    /// The cargo profile of ours and of the other programs in Rust
    #[arg(long, default_value = "release")]
    profile: String,
    /// One build with all drivers, instead of one for each
    #[arg(long)]
    one_build: bool,
    /// Only who is installed already
    #[arg(long)]
    no_install: bool,
    /// Where the results go
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Measure into results that are there: the points chosen anew, the others as they are
    #[arg(long, value_name = "FOLDER", conflicts_with = "output")]
    into: Option<PathBuf>,
    /// Write the report of results that are there again
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["what", "into", "output"])]
    report: Option<PathBuf>,
    /// Who and what there is
    #[arg(long)]
    list: bool,
    /// Cargo says this to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    frame::ended(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if let Some(folder) = &arguments.report {
        let results = Results::load(&folder.join("raw.json"))?;
        return finish(root, &results, folder, arguments.no_install);
    }
    let profile = if arguments.short { Profile::Short } else { Profile::Full };
    let one_build = arguments.one_build || arguments.short;
    let mut contenders = frame::everyone(root, &arguments.profile, one_build)?;
    if arguments.short {
        // To build it takes longer than all of a short run.
        contenders.retain(|one| one.name != GUIDED);
    }
    let scenarios = profile.scenarios(arguments.rounds, arguments.seconds);
    if arguments.list {
        list(&scenarios, &contenders);
        return Ok(ExitCode::SUCCESS);
    }
    let (scenarios, contenders) = choose(&arguments.what, scenarios, contenders)?;
    let folder = match &arguments.into {
        Some(folder) => folder.clone(),
        None => {
            let short = arguments.short.then_some("target/matrix/short");
            frame::output(root, arguments.output.as_deref(), short, "bench/results")?
        }
    };
    check_machine()?;
    let tools = prepare::ours(root, &arguments.profile, one_build)?;
    let mut results = Results {
        machine: Machine::look(root),
        command: std::env::args()
            .skip(1)
            .filter(|word| word != "--bench")
            .collect::<Vec<_>>()
            .join(" "),
        short: arguments.short,
        contenders: Vec::new(),
        missing: BTreeMap::new(),
        partial: Vec::new(),
        runs: Vec::new(),
    };
    let mut there = Vec::new();
    for contender in contenders {
        match prepare::install(root, &contender, arguments.no_install) {
            Ok(()) => there.push(contender),
            Err(why) => session::miss(&mut results, &contender.name, &why),
        }
    }
    if let Some(folder) = &arguments.into {
        results.take_over(Results::load(&folder.join("raw.json"))?, &scenarios);
    }
    let mut session = Session::open(root, tools, there, results)?;
    session.compare_pages();
    if !arguments.pages {
        std::fs::create_dir_all(&folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        session.measure(&scenarios, &folder)?;
        return finish(root, session.results(), &folder, arguments.no_install);
    }
    let results = session.results();
    let (same, missing) = (results.contenders.len(), results.missing.len());
    println!("{same} contenders have our pages, {missing} are missing");
    Ok(frame::code(&results.missing, &results.partial))
}

/// Writes the report and the plots.
fn finish(
    root: &Path,
    results: &Results,
    folder: &Path,
    no_install: bool,
) -> Result<ExitCode, String> {
    report::write(results, folder)?;
    Ok(match frame::draw(root, "bench/plots.py", folder, no_install) {
        true => frame::code(&results.missing, &results.partial),
        false => ExitCode::FAILURE,
    })
}

/// What the words of the command line choose.
fn choose(
    words: &[String],
    mut scenarios: Vec<Scenario>,
    mut contenders: Vec<Contender>,
) -> Result<(Vec<Scenario>, Vec<Contender>), String> {
    let letters: Vec<Chosen<'_>> = words.iter().filter_map(|word| Chosen::parse(word)).collect();
    let names: Vec<&String> = words.iter().filter(|word| Chosen::parse(word).is_none()).collect();
    for chosen in &letters {
        let scenario = scenarios.iter().find(|scenario| scenario.letter == chosen.letter);
        let points = scenario.map_or(0, |scenario| scenario.points.len());
        if points == 0 || chosen.point.is_some_and(|point| point == 0 || point > points) {
            let word = chosen.word;
            return Err(format!("there is no scenario {word}: they are A to H (--list)"));
        }
    }
    for name in &names {
        if !contenders.iter().any(|contender| contender.is_called(name)) {
            return Err(format!("there is no contender or group `{name}`: --list shows them"));
        }
    }
    for scenario in &mut scenarios {
        let mut number = 0;
        scenario.points.retain(|_| {
            number += 1;
            let is_meant = |chosen: &Chosen<'_>| {
                chosen.letter == scenario.letter && chosen.point.is_none_or(|at| at == number)
            };
            letters.is_empty() || letters.iter().any(is_meant)
        });
    }
    scenarios.retain(|scenario| !scenario.points.is_empty());
    contenders.retain(|one| names.is_empty() || names.iter().any(|name| one.is_called(name)));
    Ok((scenarios, contenders))
}

/// A scenario, or one of its points, as named on the command line.
struct Chosen<'w> {
    word: &'w str,
    letter: char,
    point: Option<usize>,
}

impl<'w> Chosen<'w> {
    /// A letter, and perhaps a number; anything else is the name of a contender.
    fn parse(word: &'w str) -> Option<Self> {
        let letter = word.chars().next().filter(char::is_ascii_alphabetic)?;
        let point = match &word[1..] {
            "" => None,
            number => Some(number.parse().ok()?),
        };
        Some(Self { word, letter: letter.to_ascii_uppercase(), point })
    }
}

/// What the machine must have for any figure.
fn check_machine() -> Result<(), String> {
    let cpus = core_affinity::get_core_ids().unwrap_or_default();
    let has = |id| cpus.iter().any(|cpu| cpu.id == id);
    if !has(0) || !has(arena::LOAD_CPU) {
        return Err(format!(
            "CPUs 0 and {} are needed, one for the server and one for the load: on a single CPU a \
             figure would be that of the load",
            arena::LOAD_CPU
        ));
    }
    if !Path::new("/usr/bin/taskset").exists() {
        return Err("taskset is missing: apt-get install util-linux".to_owned());
    }
    frame::raise_files_limit();
    Ok(())
}

fn list(scenarios: &[Scenario], contenders: &[Contender]) {
    for scenario in scenarios {
        println!("{}  {}", scenario.letter, scenario.title);
        for point in &scenario.points {
            println!("     {}, {} rounds of {:?}", point.name, point.rounds, point.window);
        }
    }
    for contender in contenders {
        println!("{:18} {}", contender.name, contender.label);
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let secs = text.parse().ok().filter(|secs| (0.1..=60.0).contains(secs));
    secs.ok_or_else(|| "write seconds, from 0.1 to 60".to_owned())
}
