//! The story that people come with, as figures: what visitors get while the API is slow, dead or
//! broken, or while there are ten times as many of them as can be served.
//!
//! `cargo bench --bench story` tells all of it, about ten minutes; `-- spike monoio` one scene of
//! one contender; `-- --short` everything for a moment. bench/README.md says what is measured. The
//! programs are those of the matrix, and so is the way they are started.

#![expect(clippy::disallowed_methods, reason = "no worker runs in this program: it may sleep")]

#[path = "../matrix/arena.rs"]
#[expect(dead_code, reason = "the matrix's, of which some is used here")]
mod arena;
#[path = "../matrix/contender.rs"]
#[expect(dead_code, reason = "the matrix's, of which some is used here")]
mod contender;
mod figures;
#[path = "../matrix/frame.rs"]
mod frame;
#[path = "../matrix/machine.rs"]
mod machine;
#[path = "../matrix/pages.rs"]
#[expect(dead_code, reason = "the matrix's, of which some is used here")]
mod pages;
#[path = "../matrix/prepare.rs"]
mod prepare;
#[path = "../matrix/process.rs"]
#[expect(dead_code, reason = "the matrix's, of which some is used here")]
mod process;
mod record;
mod report;
mod scene;
mod stage;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use contender::Contender;
use machine::Machine;
use record::Results;
use scene::Scene;
use stage::Stage;

/// Tells the story: a slow API, a crowd, a dead API, and what visitors get meanwhile.
#[derive(Parser)]
#[command(name = "cargo bench --bench story --", bin_name = "cargo bench --bench story --")]
struct Arguments {
    /// Scenes and contenders; all scenes, and monoio and axum-minijinja, unless named
    #[arg(value_name = "SCENE|CONTENDER")]
    what: Vec<String>,
    /// Everything for a moment: shape, not speed
    #[arg(long)]
    short: bool,
    /// The cargo profile of ours and of the other programs in Rust
    #[arg(long, default_value = "release")]
    profile: String,
    /// Only who is installed already
    #[arg(long)]
    no_install: bool,
    /// Where the results go
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Play into results that are there, of the same commit: the scenes chosen anew, the others as
    /// they are
    #[arg(long, value_name = "FOLDER", conflicts_with = "output")]
    into: Option<PathBuf>,
    /// Write the report of results that are there again
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["what", "into", "output"])]
    report: Option<PathBuf>,
    /// The scenes there are
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
        let results = Results::load(folder)?;
        return finish(root, &results, folder, arguments.no_install);
    }
    let scenes = scene::all(arguments.short);
    if arguments.list {
        scenes.iter().for_each(|scene| println!("{:8} {}", scene.name, scene.title));
        return Ok(ExitCode::SUCCESS);
    }
    let everyone = frame::everyone(root, &arguments.profile, true)?;
    let (scenes, contenders) = choose(&arguments.what, scenes, everyone)?;
    let short = arguments.short.then_some("target/story/short");
    let output = arguments.output.as_deref();
    let folder = match &arguments.into {
        Some(folder) => folder.clone(),
        None => frame::output(root, output, short, "bench/story/results")?,
    };
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let tools = prepare::ours(root, &arguments.profile, true)?;
    frame::raise_files_limit();
    let mut results = Results::new(Machine::look(root), arguments.short);
    if arguments.into.is_some() {
        results.take_over(Results::load(&folder)?)?;
    }
    let mut stage = Stage::open(root, tools)?;
    for contender in &contenders {
        if let Err(why) = prepare::install(root, contender, arguments.no_install) {
            results.miss(&contender.name, &why);
            continue;
        }
        for scene in scenes.iter().filter(|scene| scene.has(contender)) {
            println!("{:8} {}", scene.name, contender.name);
            match stage.play(scene, contender) {
                Ok(run) => {
                    figures::lines(&run).iter().for_each(|line| println!("    {line}"));
                    results.put(run);
                }
                Err(why) => {
                    results.complain(&format!("{} of {}: {why}", scene.name, contender.name));
                }
            }
            results.save(&folder)?;
        }
    }
    finish(root, &results, &folder, arguments.no_install)
}

/// What the words of the command line choose.
fn choose(
    words: &[String],
    mut scenes: Vec<Scene>,
    mut contenders: Vec<Contender>,
) -> Result<(Vec<Scene>, Vec<Contender>), String> {
    let is_scene = |word: &String| scenes.iter().any(|scene| scene.name == word.as_str());
    let (of_scenes, names): (Vec<String>, Vec<String>) = words.iter().cloned().partition(is_scene);
    for name in &names {
        if !contenders.iter().any(|one| one.is_called(name) && !one.fixed) {
            return Err(format!("there is no scene and no contender `{name}` (--list)"));
        }
    }
    scenes.retain(|scene| of_scenes.is_empty() || of_scenes.iter().any(|name| name == scene.name));
    contenders.retain(|one| match names.is_empty() {
        true => DEFAULT_CONTENDERS.contains(&one.name.as_str()),
        false => names.iter().any(|name| one.is_called(name)) && !one.fixed,
    });
    Ok((scenes, contenders))
}

/// Writes the report and the plot.
fn finish(
    root: &Path,
    results: &Results,
    folder: &Path,
    no_install: bool,
) -> Result<ExitCode, String> {
    report::write(results, folder)?;
    Ok(match frame::draw(root, "bench/story/plot.py", folder, no_install) {
        true => frame::code(&results.missing, &results.partial),
        false => ExitCode::FAILURE,
    })
}

/// Ours, and one that has the same pages and sheds nothing.
const DEFAULT_CONTENDERS: [&str; 2] = ["monoio", "axum-minijinja"];
