//! `ringpress render`: one page, to standard output.

use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::control::resolver::Resolver;
use crate::driver::Driver;
use crate::driver::kind::{Choice, Visit};
use crate::driver::timers::Timers;
use crate::http::{Method, Span};
use crate::metrics::WorkerMetrics;
use crate::page::{self, Answer, Notes, Pages, Trace};
use crate::site::{Overrides, Site, Source};
use crate::upstream::{Client, Directory, Seat};

use super::options::OfflineOption;
use super::{Exit, fail, logging, options, say};
use crate::control::machine;
use crate::control::machine::names;

/// `ringpress render`
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The site: a folder with a site.toml, or the path of one
    site: PathBuf,
    /// The page: a path, with a query if need be, or a URL
    url: String,
    /// Print to standard error what was fetched, how long it took, and how large it was
    #[arg(long)]
    explain: bool,
    /// Another URL for an upstream than the site has, several times for several
    #[arg(long = "upstream", value_name = "NAME=URL", env = "RINGPRESS_UPSTREAM",
          value_delimiter = ',', value_parser = options::upstream)]
    upstreams: Vec<(String, String)>,
    /// auto, monoio, ring, tokio-uring or epoll
    #[arg(long, value_name = "DRIVER", env = "RINGPRESS_DRIVER")]
    driver: Option<Choice>,
    #[command(flatten)]
    offline: OfflineOption,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let _logs = logging::start_quiet();
    let stand_in = match arguments.offline.read() {
        Ok(stand_in) => stand_in,
        Err(error) => return fail(error),
    };
    let overrides = Overrides {
        stand_in,
        development: Some(true),
        admin: Some(None),
        access_log: Some(None),
        upstreams: arguments.upstreams.clone(),
        ..Overrides::default()
    };
    let site = match Site::load_with(&Source::Folder(arguments.site.clone()), &overrides) {
        Ok(site) => site,
        Err(report) => {
            eprintln!("{report}");
            return Exit::Configuration;
        }
    };
    for warning in site.warnings() {
        eprintln!("warning: {warning}");
    }
    match render(site, arguments) {
        Ok(exit) => exit,
        Err(error) => fail(error),
    }
}

fn render(site: Site, arguments: &Arguments) -> Result<Exit, String> {
    let choice = arguments.driver.unwrap_or_else(|| machine::choice(site.server().driver));
    let driver = machine::driver(choice)?;
    let (_resolver, directory) =
        Resolver::start(names(&site)).map_err(|error| error.to_string())?;
    let url = Target::of(&arguments.url)?;
    let job = Job { site, directory, url };
    let rendered = driver.visit(job).map_err(|error| error.to_string())?;
    let (answer, body, trace) = rendered.map_err(|error| error.to_string())?;
    if arguments.explain {
        explain(&answer, &trace);
    }
    // A closed pipe, as of `| head`, is no failure of the page.
    let _ = io::stdout().write_all(&body);
    if io::stdout().is_terminal() && !body.ends_with(b"\n") {
        say("");
    }
    if answer.status < 400 {
        return Ok(Exit::Fine);
    }
    eprintln!("error: the page is a {}", answer.status);
    Ok(Exit::Failed)
}

/// What to render, taken apart.
struct Target {
    host: String,
    path: String,
    query: String,
}

impl Target {
    fn of(url: &str) -> Result<Self, String> {
        let (host, rest) = match url.split_once("://") {
            Some((_, rest)) => rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())),
            None => ("localhost", url),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = if path.is_empty() { "/" } else { path };
        if !path.starts_with('/') {
            return Err(format!("`{url}` is no path of a page: write it as in `/users/42`"));
        }
        Ok(Self { host: host.to_owned(), path: path.to_owned(), query: query.to_owned() })
    }
}

struct Job {
    site: Site,
    directory: Directory,
    url: Target,
}

impl Visit for Job {
    type Output = io::Result<(Answer, Vec<u8>, Trace)>;

    fn visit<D: Driver>(self) -> Self::Output {
        D::run(move || self.render::<D>())
    }
}

impl Job {
    async fn render<D: Driver>(self) -> (Answer, Vec<u8>, Trace) {
        let timers = Timers::<D>::start();
        let metrics = Arc::new(WorkerMetrics::default());
        let upstreams = self.site.upstreams();
        let client = Client::new(upstreams, self.directory, Seat::ALONE, timers.clone(), metrics);
        let pages = Pages::new(self.site, client, std::process::id());
        let target = match self.url.query.as_str() {
            "" => self.url.path.clone(),
            query => format!("{}?{query}", self.url.path),
        };
        let bytes = format!("{target}{}", self.url.host);
        let end = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX);
        let (target, host) = (end(&target), end(&bytes));
        let request = page::Request {
            method: Method::Get,
            target: Span { start: 0, end: target },
            path: self.url.path.as_bytes(),
            query: self.url.query.as_bytes(),
            host: Span { start: target, end: host },
            headers: None,
            bytes: bytes.as_bytes(),
            body: &[],
            lacks_length: false,
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            secure: false,
            number: 1,
        };
        let notes = Notes::in_full();
        let mut body = Vec::new();
        let mut answer = pages.answer(&request, &mut body, Some(&notes)).await;
        if let Some(mut file) = answer.file.take() {
            while file.left() > 0 {
                match file.next(Vec::new()).await {
                    Ok(piece) => body.extend_from_slice(&piece),
                    Err(_) => break,
                }
            }
        }
        (answer, body, notes.into_trace().unwrap_or_default())
    }
}

/// Prints what was done, a line a fetch.
fn explain(answer: &Answer, trace: &Trace) {
    let width = trace.steps.iter().map(|step| step.name.len()).max().unwrap_or(0).max(5);
    eprintln!("{:<width$}  status     bytes     begun      took  url", "fetch");
    for step in &trace.steps {
        let status = step.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
        let (begun, took) = (step.begun.as_secs_f64() * 1e3, step.took.as_secs_f64() * 1e3);
        let reused = if step.reused { "  (reused connection)" } else { "" };
        let how = if step.how.is_empty() { String::new() } else { format!("  ({})", step.how) };
        eprintln!(
            "{:<width$}  {status:>6}  {:>8}  {begun:>5.1} ms  {took:>5.1} ms  {}{how}{reused}",
            step.name, step.bytes, step.url
        );
        for level in &step.failure {
            eprintln!("{:<width$}    {level}", "");
        }
    }
    if let Some((bytes, took)) = trace.render {
        eprintln!("rendered {bytes} bytes in {:.3} ms", took.as_secs_f64() * 1e3);
    }
    eprintln!("status {}", answer.status);
    eprint!("{}", String::from_utf8_lossy(&answer.passed));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_named_by_its_path_or_its_url() {
        let target = Target::of("http://example.org:80/a/b?c=d#e").unwrap();
        assert_eq!((target.host.as_str(), target.path.as_str()), ("example.org:80", "/a/b"));
        assert_eq!(target.query, "c=d");
        assert_eq!(Target::of("/x?y").unwrap().query, "y");
        assert_eq!(Target::of("https://h?q=1").unwrap().path, "/");
        assert!(Target::of("users/42").is_err_and(|error| error.contains("/users/42")));
    }
}
