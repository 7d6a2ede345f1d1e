//! Methods of values that templates for Jinja2 call: Python's, of strings, lists and mappings.
//!
//! minijinja leaves methods to who embeds it. `user.name.upper()`, `text.split(", ")` and
//! `map.items()` are what people know, so they are here, as minijinja-contrib has them. What these
//! make is paid for when it is there; so what may be far longer than what it is made of is bounded
//! before.

use crate::limits::PAGE_BYTES_MAX;
use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

/// Adds them to an environment.
pub(super) fn add(environment: &mut Environment<'_>) {
    environment.set_unknown_method_callback(call);
}

fn call(state: &mut State<'_, '_>, of: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    match (of.as_str(), name, args) {
        // The filter pays as it goes.
        (Some(_), "join", [items]) => state.apply_filter("join", &[items.clone(), of.clone()]),
        (Some(text), _, _) if made(text, name, args) > PAGE_BYTES_MAX => Err(Error::new(
            ErrorKind::OutOfFuel,
            format!("`{name}` would make more than {PAGE_BYTES_MAX} bytes"),
        )),
        _ => unknown_method_callback(state, of, name, args).map_err(|error| explain(error, name)),
    }
}

/// How much a string's method makes at most, in bytes.
fn made(text: &str, name: &str, args: &[Value]) -> usize {
    let strings = || args.iter().filter_map(Value::as_str);
    match name {
        "replace" => {
            let mut strings = strings();
            let (from, to) = (strings.next().unwrap_or_default(), strings.next());
            let times = text.matches(from).count();
            text.len().saturating_add(times.saturating_mul(to.map_or(0, str::len)))
        }
        "split" => {
            let parts = strings().next().filter(|by| !by.is_empty()).map_or_else(
                || text.split_whitespace().count(),
                |separator| text.matches(separator).count() + 1,
            );
            text.len().saturating_add(parts.saturating_mul(size_of::<Value>()))
        }
        "splitlines" => {
            let parts = text.bytes().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
            text.len().saturating_add(parts.saturating_mul(size_of::<Value>()))
        }
        "format" => {
            // What has a width may be as long as that says.
            let width = text.split(':').skip(1).map(width).fold(0, usize::saturating_add);
            let longest = args.iter().map(longest).max().unwrap_or_default();
            let places = text.bytes().filter(|byte| *byte == b'{').count();
            let values = places.saturating_mul(longest);
            text.len().saturating_add(values).saturating_add(width)
        }
        _ => 0,
    }
}

/// The numbers that a format begins with, taken together.
fn width(format: &str) -> usize {
    let end = format.find('}').unwrap_or(format.len());
    let format = format.get(..end).unwrap_or_default();
    let numbers = format.split(|byte: char| !byte.is_ascii_digit()).filter(|part| !part.is_empty());
    numbers.map(|part| part.parse().unwrap_or(usize::MAX)).fold(0, usize::saturating_add)
}

/// How long a value is when it is printed: of what is no string, a list or a map say, as much as
/// may be, since it would have to be printed to know.
fn longest(value: &Value) -> usize {
    match value.kind() {
        ValueKind::String => value.as_str().map_or(0, str::len),
        ValueKind::Undefined | ValueKind::None | ValueKind::Bool | ValueKind::Number => NUMBER_MAX,
        _ => PAGE_BYTES_MAX,
    }
}

/// An error that says which methods there are instead.
fn explain(error: Error, name: &str) -> Error {
    let instead = match (error.kind(), name) {
        (ErrorKind::UnknownMethod, "append" | "update" | "pop" | "extend" | "insert") => {
            "values never change: `{% set list = list + [item] %}` makes another"
        }
        (ErrorKind::UnknownMethod, "strftime" | "isoformat") => {
            "an API has no dates, but numbers and text: the filter `datetimeformat` takes both"
        }
        (ErrorKind::UnknownMethod, "encode" | "decode") => "text is UTF-8 throughout",
        _ => return error,
    };
    Error::new(ErrorKind::UnknownMethod, format!("there is no method `{name}`: {instead}"))
}

/// The most that a number takes, in bytes: of a float written out.
const NUMBER_MAX: usize = 400;

#[cfg(test)]
mod tests {
    use super::super::environment;
    use super::*;
    use minijinja::context;

    fn render(template: &str) -> Result<String, Error> {
        let long = "a".repeat(1 << 20);
        let environment = environment::new();
        let user = context! { name => "ann <b>", tags => ["x", "y"], born => 1990 };
        environment.render_str(template, context! { user, long, text => "a, b,c\nd" })
    }

    fn refused(template: &str) -> String {
        let Err(error) = render(template) else { panic!("{template} is made") };
        format!("{}: {}", error.kind(), error.detail().unwrap_or_default())
    }

    #[test]
    fn what_people_know_from_jinja() {
        for (template, made) in [
            ("{{ user.name.upper() }}", "ANN <B>"),
            ("{{ user.name.title() }} {{ user.name.startswith('ann') }}", "Ann <B> True"),
            ("{{ text.split(', ')|length }} {{ text.splitlines()[1] }}", "2 d"),
            ("{{ text.replace(', ', '+') }}", "a+b,c\nd"),
            ("{{ '-'.join(user.tags) }}", "x-y"),
            ("{{ '{} of {:>5}'.format(user.born, 'it') }}", "1990 of    it"),
            ("{% for key, value in user.items() %}{{ key }} {% endfor %}", "name tags born "),
            (
                "{{ user.get('nope', 'none') }} {{ user.keys()|list }}",
                "none ['name', 'tags', 'born']",
            ),
        ] {
            assert_eq!(render(template).unwrap(), made, "{template}");
        }
    }

    #[test]
    fn what_would_be_far_too_long_is_refused_before_it_is_made() {
        for template in [
            "{{ long.replace('a', long) }}",
            "{{ long.replace('', 'abcdefghijklmnopqrst') }}",
            "{{ long.split('a') }}",
            "{{ ('{0}' * 100).format(long) }}",
            "{{ '{:99999999}'.format(1) }}",
            "{{ '{}{}'.format(user.tags, user) }}",
        ] {
            assert!(refused(template).contains("would make more than"), "{template}");
        }
        assert!(refused("{{ long.join(range(9000)) }}").starts_with("engine ran out of fuel"));
    }

    #[test]
    fn what_is_no_method_says_what_there_is_instead() {
        assert!(refused("{{ user.tags.append(1) }}").contains("`{% set list = list + [item] %}`"));
        assert!(refused("{{ user.born.nope() }}").starts_with("unknown method"));
    }
}
