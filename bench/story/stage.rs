//! Plays a scene: the APIs, a server, visitors, and what happens to whom and when.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::Signal;

use crate::arena::{self, Api, Arena, Generator, Manner, Server};
use crate::contender::{Contender, Group};
use crate::prepare::Tools;
use crate::record::{Load, PartRun, Run};
use crate::scene::{Act, Part, Rate, Scene, Who};

/// All that the scenes share.
pub(crate) struct Stage {
    arena: Arena,
    other: Api,
    third: Api,
    scratch: tempfile::TempDir,
}

impl Stage {
    /// Starts the APIs.
    ///
    /// # Errors
    /// When they do not come up.
    pub(crate) fn open(root: &Path, tools: Tools) -> Result<Self, String> {
        let scratch = tempfile::tempdir().map_err(|error| format!("scratch: {error}"))?;
        // Where it fails, this thread merely takes time of CPU 0.
        core_affinity::set_for_current(core_affinity::CoreId { id: arena::LOAD_CPU });
        let start = || Api::start(&tools.mock_api, arena::free_port(OTHER_PORT)?, scratch.path());
        let (other, third) = (start()?, start()?);
        Ok(Self { arena: Arena::open(root, tools)?, other, third, scratch })
    }

    /// One scene with one contender.
    ///
    /// # Errors
    /// When there is nothing to show: a program failed, or a request was not accounted for.
    pub(crate) fn play(&mut self, scene: &Scene, contender: &Contender) -> Result<Run, String> {
        self.renew()?;
        let contender = self.with_site(contender)?;
        let mut server = self.arena.start(&contender, "0,", Manner::default())?;
        let (first, rest) = scene.parts.split_first().ok_or("a scene without parts")?;
        self.act(&first.acts)?;
        let is_relative = |part: &Part| matches!(part.rate, Rate::OfCapacity(_));
        let capacity = match scene.parts.iter().any(is_relative) {
            true => Some(self.capacity(&server, scene)?),
            false => None,
        };
        let total: f64 = scene.parts.iter().map(|part| part.length.as_secs_f64()).sum();
        let beside = scene.beside.map(|(path, rate)| {
            self.pace(&server, path, &[format!("--steps={rate}x{total}"), "--seed=2".to_owned()])
        });
        let mut beside = beside.transpose()?;
        let steps = steps(&scene.parts, capacity.unwrap_or_default());
        let arguments = with_strangers(scene, format!("--steps={steps}"));
        let mut watched = self.pace(&server, scene.path, &arguments)?;
        for load in beside.iter_mut().chain([&mut watched]) {
            while !load.line()?.contains("started") {}
        }
        let mut clock = Clock { start: Instant::now(), memory: Vec::new() };
        let begun =
            |part: &Part, begun_s| PartRun { name: part.name.to_owned(), kind: part.kind, begun_s };
        let mut parts = vec![begun(first, 0.0)];
        let mut until = first.length;
        for part in rest {
            clock.watch(&server, until);
            self.act(&part.acts)?;
            parts.push(begun(part, clock.start.elapsed().as_secs_f64()));
            until += part.length;
        }
        clock.watch(&server, until);
        let load: Load = watched.result()?;
        // And again, as the speed of a machine drifts within a scene.
        let again =
            |before: f64| self.pages_a_second(&server, scene, before * 2.0, CAPACITY_SECS * 4.0);
        let capacity_after = capacity.map(again).transpose()?;
        let beside = beside.map(Generator::result::<Load>).transpose()?;
        check(&load)?;
        beside.iter().try_for_each(check)?;
        Ok(Run {
            scene: scene.name.to_owned(),
            title: scene.title.to_owned(),
            contender: contender.name.clone(),
            label: contender.label.clone(),
            capacity,
            capacity_after,
            parts,
            load,
            beside: beside.map(|load| Load { course: None, ..load }),
            memory: clock.memory,
            crashed: server.alive().err(),
        })
    }

    /// APIs that are well and know nothing of the scene before.
    fn renew(&mut self) -> Result<(), String> {
        let everyone = [Who::Api, Who::Other, Who::Third];
        everyone.iter().try_for_each(|who| self.act(&[Act::Kill(*who), Act::Start(*who)]))
    }

    /// A contender of ours serves the story's site; a peer has the same page anyway.
    fn with_site(&self, contender: &Contender) -> Result<Contender, String> {
        let mut contender = contender.clone();
        if contender.group != Group::Ringpress {
            return Ok(contender);
        }
        let folder = self.scratch.path().join("site");
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        fs::create_dir_all(&folder).map_err(failed)?;
        let text = include_str!("site.toml")
            .replace("{api}", &self.arena.api.port.to_string())
            .replace("{other}", &self.other.port.to_string())
            .replace("{third}", &self.third.port.to_string());
        fs::write(folder.join("site.toml"), text).map_err(failed)?;
        let template = self.arena.root.join("bench/site/user.html");
        fs::copy(template, folder.join("user.html")).map_err(failed)?;
        let folder = folder.to_string_lossy();
        for word in &mut contender.run {
            if word == "{site}" {
                *word = folder.clone().into_owned();
            }
        }
        Ok(contender)
    }

    fn act(&mut self, acts: &[Act]) -> Result<(), String> {
        for act in acts {
            let program = self.arena.tools.mock_api.clone();
            let scratch: PathBuf = self.scratch.path().to_owned();
            let (Act::Delay(who, _)
            | Act::Size(who, _)
            | Act::Broken(who, _)
            | Act::Kill(who)
            | Act::Start(who)
            | Act::Freeze(who)
            | Act::Thaw(who)) = *act;
            let api = match who {
                Who::Api => &mut self.arena.api,
                Who::Other => &mut self.other,
                Who::Third => &mut self.third,
            };
            match *act {
                Act::Delay(_, ms) => api.tell("delay", ms)?,
                Act::Size(_, items) => api.tell("size", items)?,
                Act::Broken(_, percent) => api.tell("broken", percent)?,
                Act::Kill(_) => api.program.signal(Signal::KILL),
                Act::Start(_) => *api = Api::start(&program, api.port, &scratch)?,
                Act::Freeze(_) => api.program.signal(Signal::STOP),
                Act::Thaw(_) => api.program.signal(Signal::CONT),
            }
        }
        Ok(())
    }

    /// Pages a second at most: more and more visitors, until fewer than come get theirs; and then
    /// as many again for longer, as a server may do better when it has got used to a crowd.
    fn capacity(&self, server: &Server, scene: &Scene) -> Result<f64, String> {
        let (mut rate, mut best) = (CAPACITY_FIRST, 0.0_f64);
        for _ in 0..CAPACITY_STEPS_MAX {
            let came = self.pages_a_second(server, scene, rate, CAPACITY_SECS)?;
            best = best.max(came);
            if came < rate * CAPACITY_SHARE {
                let again = self.pages_a_second(server, scene, rate * 2.0, CAPACITY_SECS * 4.0)?;
                return Ok(best.max(again));
            }
            rate *= 1.5;
        }
        Err(format!("no load was too much for it, up to {rate:.0} a second"))
    }

    /// Pages that come in the second half of a load: the first fills the queues.
    fn pages_a_second(
        &self,
        server: &Server,
        scene: &Scene,
        rate: f64,
        secs: f64,
    ) -> Result<f64, String> {
        let arguments = with_strangers(scene, format!("--steps={rate}x{secs}"));
        let load: Load = self.pace(server, scene.path, &arguments)?.result()?;
        let slices = load.course.map(|course| course.slices).unwrap_or_default();
        let half = slices.get(slices.len() / 2..).unwrap_or_default();
        let came: u64 = half.iter().map(|slice| slice.came).sum();
        Ok(came as f64 * 2.0 / secs)
    }

    fn pace(&self, server: &Server, path: &str, arguments: &[String]) -> Result<Generator, String> {
        let target = format!("--target=127.0.0.1:{}", server.port);
        let mut all = vec![target, format!("--path={path}")];
        all.extend_from_slice(arguments);
        Generator::start(&self.arena.tools.pace, &all)
    }
}

/// The time of a scene, and what is looked at meanwhile.
struct Clock {
    start: Instant,
    memory: Vec<(f64, u64)>,
}

impl Clock {
    /// Watches the server's memory until that time of the scene.
    fn watch(&mut self, server: &Server, until: Duration) {
        loop {
            let at = self.start.elapsed();
            self.memory.push((at.as_secs_f64(), server.program.usage().memory_bytes));
            let left = until.saturating_sub(self.start.elapsed());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(MEMORY_EVERY));
        }
    }
}

/// What pace is told of the visitors of a scene, beside when they come.
fn with_strangers(scene: &Scene, steps: String) -> Vec<String> {
    let once = scene.strangers.then(|| "--once".to_owned());
    [steps].into_iter().chain(once).collect()
}

/// The schedule of a scene, as pace reads it.
fn steps(parts: &[Part], capacity: f64) -> String {
    let step = |part: &Part| {
        let rate = match part.rate {
            Rate::Fixed(rate) => rate,
            Rate::OfCapacity(times) => capacity * times,
        };
        format!("{rate:.3}x{}", part.length.as_secs_f64())
    };
    parts.iter().map(step).collect::<Vec<_>>().join(",")
}

/// That every visitor is accounted for: here, beside what pace says of itself.
fn check(load: &Load) -> Result<(), String> {
    let failed: u64 = load.failures.values().sum();
    let ended = load.pages + load.shed + failed;
    let steps = load.course.iter().flat_map(|course| &course.steps);
    let by_steps: u64 = steps.map(|step| step.pages + step.shed + step.failed).sum();
    if ended != load.arrived || by_steps != load.arrived {
        let arrived = load.arrived;
        return Err(format!("{arrived} arrived, {ended} have ended, {by_steps} of them in a part"));
    }
    Ok(())
}

const OTHER_PORT: u16 = 9150;
const MEMORY_EVERY: Duration = Duration::from_millis(250);
/// The first load that capacity is looked for with, pages a second.
const CAPACITY_FIRST: f64 = 200.0;
const CAPACITY_SECS: f64 = 2.0;
const CAPACITY_STEPS_MAX: u32 = 16;
/// Below this share of the visitors it is too much.
const CAPACITY_SHARE: f64 = 0.8;
