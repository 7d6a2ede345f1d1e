//! How figures are written: three digits and a unit, in a page of 80 columns.

use std::time::Duration;

/// Three digits, or as many as a whole number has.
pub(super) fn figure(number: f64) -> String {
    let magnitude = number.abs();
    let decimals = match magnitude {
        _ if magnitude >= 99.95 => 0,
        _ if magnitude >= 9.995 => 1,
        _ if magnitude >= 0.9995 => 2,
        _ => 3,
    };
    let text = format!("{number:.decimals$}");
    if magnitude >= HUGE {
        return format!("{number:.1e}");
    }
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A part of something.
pub(super) fn share(part: f64) -> String {
    let percent = part * 100.0;
    if percent > 0.0 && percent < 0.1 {
        "under 0.1 %".to_owned()
    } else {
        format!("{} %", figure(percent))
    }
}

/// A time with the unit that suits it.
pub(super) fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (unit_s, unit) = match seconds {
        _ if seconds >= YEAR_S => return "over a year".to_owned(),
        _ if seconds >= DAY_S => (DAY_S, "d"),
        _ if seconds >= HOUR_S => (HOUR_S, "h"),
        _ if seconds >= MINUTE_S => (MINUTE_S, "min"),
        _ if seconds >= 0.9995 => (1.0, "s"),
        _ if seconds >= 0.9995e-3 => (1e-3, "ms"),
        _ if seconds >= 1e-6 => (1e-6, "µs"),
        _ if seconds > 0.0 => return "under 1 µs".to_owned(),
        _ => return "0 ms".to_owned(),
    };
    format!("{} {unit}", figure(seconds / unit_s))
}

/// A size with the unit that suits it.
pub(super) fn bytes(bytes: f64) -> String {
    let mut size = bytes;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if size < 1023.5 {
            break;
        }
        (size, unit) = (size / 1024.0, larger);
    }
    format!("{} {unit}", figure(size))
}

/// Text that grows to a page.
#[derive(Default)]
pub(super) struct Page {
    pub(super) text: String,
}

impl Page {
    pub(super) fn heading(&mut self, heading: &str) {
        self.text.push('\n');
        self.wrapped("", "", heading);
    }

    pub(super) fn paragraph(&mut self, words: &str) {
        self.wrapped("", "", words);
    }

    /// A label and what there is to say to it.
    pub(super) fn item(&mut self, label: &str, words: &str) {
        self.wrapped(&format!("  {label:LABEL$}"), &" ".repeat(LABEL + 2), words);
    }

    /// A line of a table; a cell that is empty in each row takes no room.
    pub(super) fn row(&mut self, cells: [&str; CELLS.len()]) {
        let mut line = String::new();
        for (cell, width) in cells.into_iter().zip(CELLS) {
            if !cell.is_empty() {
                line.push_str(&format!("{cell:>width$}"));
            }
        }
        self.text.push_str(&line);
        self.text.push('\n');
    }

    /// `words` in lines, the first after `first`, the others after `indent`.
    fn wrapped(&mut self, first: &str, indent: &str, words: &str) {
        let mut line = first.to_owned();
        let mut is_empty = true;
        for word in words.split_ascii_whitespace() {
            let columns = line.chars().count() + 1 + word.chars().count();
            if !is_empty && columns > COLUMNS {
                self.text.push_str(&line);
                self.text.push('\n');
                line = indent.to_owned();
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
            is_empty = false;
        }
        self.text.push_str(&line);
        self.text.push('\n');
    }
}

const COLUMNS: usize = 80;
const LABEL: usize = 22;
/// Widths of a table's cells, which begin with their distance.
const CELLS: [usize; 7] = [9, 12, 10, 16, 14, 10, 9];
const _: () = assert!(total(CELLS) <= COLUMNS);

const fn total(cells: [usize; 7]) -> usize {
    let [a, b, c, d, e, f, g] = cells;
    a + b + c + d + e + f + g
}
const MINUTE_S: f64 = 60.0;
const HOUR_S: f64 = 3600.0;
const DAY_S: f64 = 24.0 * HOUR_S;
const YEAR_S: f64 = 365.0 * DAY_S;
/// From here on figures are powers of ten.
const HUGE: f64 = 1e9;
