//! What is measured: scenarios, their points, and who takes part.

use std::time::Duration;

use crate::contender::{Contender, Group, PageKind};

/// A group of points that belong together.
pub(crate) struct Scenario {
    pub(crate) letter: char,
    pub(crate) title: &'static str,
    pub(crate) points: Vec<Point>,
}

/// One load on one page.
#[derive(Clone)]
pub(crate) struct Point {
    pub(crate) name: String,
    pub(crate) page: PageKind,
    pub(crate) hot: bool,
    /// Ours turn visitors away where there are too many, as they do unless told otherwise.
    pub(crate) sheds: bool,
    pub(crate) delay_ms: u64,
    pub(crate) load: Load,
    /// CPUs of our workers, in the notation of `--workers`.
    pub(crate) workers: &'static str,
    pub(crate) field: Field,
    pub(crate) warm: Duration,
    pub(crate) window: Duration,
    pub(crate) rounds: u32,
}

/// How requests come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// As many connections, each asking again as soon as it has its answer (wrk).
    Closed { connections: usize },
    /// Arrivals a second, whatever the answers (pace); with so many connections held open.
    Open { rate: f64, hold: usize },
}

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    All,
    /// Without two of the three Flasks with a handful of workers: one shows it.
    OneBlocking,
    /// Those that need no worker for each page in flight.
    NotBlocking,
    /// Compiled, or compiled while it runs.
    Fast,
    /// The floor, and who comes next.
    Top,
    /// Our own drivers.
    Ours,
}

impl Field {
    pub(crate) fn has(self, contender: &Contender) -> bool {
        let name = contender.name.as_str();
        match self {
            Self::All => true,
            Self::OneBlocking => !matches!(name, "flask-1" | "flask-16"),
            Self::NotBlocking => !contender.blocking,
            Self::Fast => contender.group != Group::Python,
            Self::Top => {
                matches!(contender.group, Group::Ringpress | Group::Floor | Group::Nginx)
                    || name == "axum-askama"
            }
            Self::Ours => contender.group == Group::Ringpress,
        }
    }
}

/// How long and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// What is published.
    Full,
    /// Everything once, for a moment: shape, not speed.
    Short,
}

impl Profile {
    /// All scenarios; `rounds` and `seconds` of the command line go before our own.
    pub(crate) fn scenarios(self, rounds: Option<u32>, seconds: Option<f64>) -> Vec<Scenario> {
        let mut scenarios = match self {
            Self::Full => full(),
            Self::Short => short(),
        };
        for point in scenarios.iter_mut().flat_map(|scenario| &mut scenario.points) {
            point.rounds = rounds.unwrap_or(point.rounds);
            point.window = seconds.map_or(point.window, Duration::from_secs_f64);
        }
        scenarios
    }
}

fn full() -> Vec<Scenario> {
    let closed = |delay_ms, connections, field| Point::closed(delay_ms, connections, field);
    let arrivals = [20.0, 100.0, 500.0, 2000.0, 8000.0, 12_000.0, 16_000.0, 24_000.0];
    let open = arrivals.map(|rate| {
        let field = if rate > 8000.0 { Field::Fast } else { Field::All };
        let name = format!("{rate}/s");
        let load = Load::Open { rate, hold: 0 };
        let (window, rounds) = (secs(4.0), 1);
        Point { name, load, sheds: true, window, rounds, ..Point::closed(50, 0, field) }
    });
    let held = [64, 1000, 10_000, 19_000].map(|hold| {
        let load = Load::Open { rate: 5000.0, hold };
        let name = format!("{hold} connections, 5000/s");
        Point { name, load, window: secs(2.5), ..Point::closed(0, 0, Field::Top) }
    });
    // As many as two descriptors each allow in a process with 20 000.
    let many = Point {
        name: "9000/s, the API takes 1 s".to_owned(),
        load: Load::Open { rate: 9000.0, hold: 0 },
        warm: secs(2.5),
        window: secs(3.0),
        ..Point::closed(1000, 9000, Field::Top)
    };
    let hot = Point { hot: true, ..closed(0, 64, Field::Fast) };
    let list = Point { page: PageKind::Lists, ..closed(50, 100, Field::NotBlocking) };
    let workers = [("0,", "one worker"), ("0,1", "two workers")].map(|(workers, name)| {
        let name = name.to_owned();
        Point { name, workers, window: secs(3.0), ..closed(0, 256, Field::Ours) }
    });
    vec![
        Scenario::new('A', vec![closed(0, 64, Field::All)]),
        Scenario::new(
            'B',
            vec![closed(50, 1000, Field::OneBlocking), closed(50, 4000, Field::Fast)],
        ),
        Scenario::new('C', vec![closed(500, 4000, Field::Fast), many]),
        Scenario::new('D', open.to_vec()),
        Scenario::new('E', vec![hot]),
        Scenario::new('F', vec![list]),
        Scenario::new('G', held.to_vec()),
        Scenario::new('H', workers.to_vec()),
    ]
}

/// The first point or two of each scenario with small numbers; everyone in A and D.
fn short() -> Vec<Scenario> {
    let mut scenarios = full();
    for scenario in &mut scenarios {
        scenario.points.truncate(if scenario.letter == 'H' { 2 } else { 1 });
        for point in &mut scenario.points {
            (point.rounds, point.window, point.warm) = (1, secs(0.4), secs(0.2));
            point.delay_ms = point.delay_ms.min(50);
            if !matches!(scenario.letter, 'A' | 'D') && point.field != Field::Ours {
                point.field = Field::Top;
            }
            match &mut point.load {
                Load::Closed { connections } => *connections = (*connections).min(100),
                Load::Open { rate, hold } => {
                    // One that even a single blocking worker bears; and few to hold.
                    (*rate, *hold) = (rate.min(200.0), (*hold).min(100));
                }
            }
            if scenario.letter != 'H' {
                point.name = point.describe();
            }
        }
    }
    scenarios
}

impl Scenario {
    fn new(letter: char, points: Vec<Point>) -> Self {
        let title = TITLES.iter().find(|(of, _)| *of == letter).map_or("", |(_, title)| title);
        Self { letter, title, points }
    }
}

impl Point {
    fn closed(delay_ms: u64, connections: usize, field: Field) -> Self {
        // Thousands of connections take their time to open, and slow ones to show a steady state.
        let warm = secs(0.7 + connections as f64 / 5000.0 + delay_ms as f64 * 3.0 / 1000.0);
        let window = secs(if delay_ms >= 500 { 3.0 } else { 2.0 });
        let load = Load::Closed { connections };
        let mut point = Self {
            name: String::new(),
            page: PageKind::Users,
            hot: false,
            sheds: false,
            delay_ms,
            load,
            workers: "0,",
            field,
            warm,
            window,
            rounds: 5,
        };
        point.name = point.describe();
        point
    }

    fn describe(&self) -> String {
        match self.load {
            Load::Closed { connections } => format!("{connections} connections"),
            Load::Open { rate, hold: 0 } => format!("{rate}/s"),
            Load::Open { rate, hold } => format!("{hold} connections, {rate}/s"),
        }
    }

    /// Whether servers may end up with so many connections to the API that it has no descriptors
    /// for the next one's: then each starts anew, and ends after its run.
    pub(crate) fn is_crowded(&self) -> bool {
        match self.load {
            Load::Closed { connections } => connections as u64 * self.page.fetches() > 1000,
            Load::Open { rate, hold } => hold == 0 && rate >= 2000.0,
        }
    }

    pub(crate) fn has(&self, contender: &Contender) -> bool {
        self.field.has(contender) && contender.pages.contains(&self.page)
    }
}

fn secs(secs: f64) -> Duration {
    Duration::from_secs_f64(secs)
}

/// What each scenario asks.
pub(crate) const TITLES: [(char, &str); 8] = [
    ('A', "the API answers at once, 64 connections"),
    ('B', "the API takes 50 ms"),
    ('C', "the API takes 500 ms, and 1 s"),
    ('D', "arrivals that do not wait for answers, the API takes 50 ms"),
    ('E', "one hot page, 64 connections"),
    ('F', "a page of 31 fetches, the API takes 50 ms"),
    ('G', "cost as connections grow, at the same rate"),
    ('H', "one worker and two"),
];
