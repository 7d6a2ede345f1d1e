//! Logs on standard error: JSON lines, pretty ones on a terminal, and for the journal of systemd
//! lines that say how grave they are.
//!
//! Workers hand their records to a bounded queue and never wait for the writer; what does not
//! fit is dropped.

use std::env::VarError;
use std::fmt::{self, Write};
use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use clap::ValueEnum;
use rustix::fs::fstat;
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::limits;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A JSON object a line
    Json,
    /// For the journal of systemd: `<N>` and the text, without a time
    Journal,
    /// For a terminal
    Pretty,
}

/// Has log lines be written so, whatever standard error is.
pub(super) fn set_format(format: Format) {
    let _ = FORMAT.set(format);
}

static FORMAT: OnceLock<Format> = OnceLock::new();

/// Starts logging. Records are written until the guard is dropped.
pub(super) fn start() -> WorkerGuard {
    start_at("info")
}

/// The same for a command that speaks to somebody who sits before it: what is usual is not logged.
pub(super) fn start_warnings() -> WorkerGuard {
    start_at("warn")
}

/// The same for a command whose result is its output: only what is wrong is logged.
pub(super) fn start_quiet() -> WorkerGuard {
    start_at("error")
}

fn start_at(level: &str) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(limits::LOG_QUEUE_MAX)
        .lossy(true)
        .thread_name("log")
        .finish(io::stderr());
    // What is written there has been looked at, where a command line was.
    let filter = written_filter().and_then(|written| EnvFilter::try_new(written).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(level));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    // An error means that logging is on already, as in a test that starts two commands.
    let _ = match FORMAT.get().copied().unwrap_or_else(usual_format) {
        Format::Pretty => {
            subscriber.with_target(false).with_ansi(io::stderr().is_terminal()).try_init()
        }
        Format::Json => subscriber.json().flatten_event(true).with_current_span(false).try_init(),
        Format::Journal => subscriber.event_format(Journal).try_init(),
    };
    guard
}

/// What is wrong with `RINGPRESS_LOG`, if anything is. A word that is no level would be taken for
/// the name of a part of a program, of which there is nothing to log: not even a warning.
///
/// # Errors
/// In words, with the remedy.
pub(super) fn check_filter() -> Result<(), String> {
    match std::env::var(FILTER) {
        Ok(written) if written.trim().is_empty() => Ok(()),
        Ok(written) => match trouble(&written) {
            Some(trouble) => Err(format!("{FILTER}: {trouble}; {FILTER_HINT}")),
            None => Ok(()),
        },
        Err(VarError::NotUnicode(_)) => Err(format!("{FILTER} is not UTF-8; {FILTER_HINT}")),
        Err(VarError::NotPresent) => Ok(()),
    }
}

/// What is written in the environment; one that is empty says nothing.
fn written_filter() -> Option<String> {
    std::env::var(FILTER).ok().filter(|written| !written.trim().is_empty())
}

fn trouble(written: &str) -> Option<String> {
    for directive in written.split(',').map(str::trim) {
        if directive.is_empty() {
            return Some(format!("`{written}` has an empty part"));
        }
        let is_level = directive.parse::<LevelFilter>().is_ok();
        if !is_level && !directive.contains(['=', '[']) {
            return Some(format!("`{directive}` is no level"));
        }
        let level = directive.rsplit_once('=').map(|(_, level)| level.trim());
        if level.is_some_and(str::is_empty) {
            return Some(format!("`{directive}` names no level"));
        }
    }
    EnvFilter::try_new(written).err().map(|error| format!("`{written}`: {error}"))
}

const FILTER: &str = "RINGPRESS_LOG";
const FILTER_HINT: &str = "write one of error, warn, info, debug, trace and off, or what to log of \
                           which part, as in \"warn,ringpress::upstream=debug\"";

/// What fits where standard error goes to.
fn usual_format() -> Format {
    if io::stderr().is_terminal() {
        Format::Pretty
    } else if std::env::var("JOURNAL_STREAM").is_ok_and(|stream| is_stderr(&stream)) {
        Format::Journal
    } else {
        Format::Json
    }
}

/// Whether standard error is the file of this device and inode, `DEVICE:INODE`: the variable is
/// inherited by what writes elsewhere too (systemd.exec(5)).
fn is_stderr(stream: &str) -> bool {
    let Some((device, inode)) = stream.split_once(':') else { return false };
    fstat(io::stderr())
        .is_ok_and(|file| device.parse() == Ok(file.st_dev) && inode.parse() == Ok(file.st_ino))
}

/// Lines as sd-daemon(3) has them: how grave they are, and no time, which the journal knows.
struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = String::new();
        context.format_fields(Writer::new(&mut text), event)?;
        write_lines(&mut writer, priority(*event.metadata().level()), &text)
    }
}

/// Each line is an entry of its own to the journal.
fn write_lines(writer: &mut impl Write, priority: u8, text: &str) -> fmt::Result {
    text.lines().try_for_each(|line| writeln!(writer, "<{priority}>{line}"))
}

/// As syslog numbers them.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_for_the_journal_says_how_grave_it_is() {
        let mut written = String::new();
        write_lines(&mut written, priority(Level::ERROR), "no site: a.toml\n  line 3").unwrap();
        write_lines(&mut written, priority(Level::INFO), "serving workers=2").unwrap();
        assert_eq!(written, "<3>no site: a.toml\n<3>  line 3\n<6>serving workers=2\n");
    }

    #[test]
    fn a_filter_is_levels_and_what_has_one() {
        for fine in [
            "warn",
            "WARN",
            "off",
            "info,ringpress::upstream=debug",
            "error,ringpress=trace",
            "[page]=debug",
            "ringpress[page{path=\"/\"}]=info",
        ] {
            assert_eq!(trouble(fine), None, "{fine}");
        }
        for wrong in
            ["wran", "bogus=,,", "info,", ",", "bogus=", "ringpress", "info,x=wran", "a=b=c"]
        {
            assert!(trouble(wrong).is_some(), "{wrong}");
        }
    }

    #[test]
    fn another_file_is_not_the_journal() {
        let file = fstat(io::stderr()).unwrap();
        assert!(is_stderr(&format!("{}:{}", file.st_dev, file.st_ino)));
        assert!(!is_stderr(&format!("{}:{}", file.st_dev, file.st_ino + 1)));
        assert!(!is_stderr("8"));
    }
}
