//! Filters that pages over an API need beside minijinja's own.

use super::piece::kind_name;
use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use std::time::{SystemTime, UNIX_EPOCH};

/// Adds them to an environment.
pub(super) fn add(environment: &mut Environment<'_>) {
    let mut cleaner = ammonia::Builder::default();
    cleaner.link_rel(Some("nofollow noopener noreferrer"));
    // A picture in a text would tell its host who reads the page.
    cleaner.rm_tags(["img"]);
    environment.add_filter("sanitize", move |html: &Value| sanitize(&cleaner, html));
    environment.add_filter("timeago", timeago);
    environment.add_filter("domain", domain);
    environment.add_filter("flatten", flatten);
    environment.add_filter("int", int);
    environment.add_filter("truncate", truncate);
}

/// Whether an environment has a filter of this name.
pub(super) fn exists(environment: &Environment<'_>, name: &str) -> bool {
    // There is no other way to ask; called without arguments, a filter does nothing but complain.
    !unknown(environment.empty_state().apply_filter(name, &[]))
}

/// Whether an environment has a test of this name.
pub(super) fn test_exists(environment: &Environment<'_>, name: &str) -> bool {
    !unknown(environment.empty_state().perform_test(name, &[]))
}

fn unknown<T>(result: Result<T, Error>) -> bool {
    result.is_err_and(|error| {
        matches!(error.kind(), ErrorKind::UnknownFilter | ErrorKind::UnknownTest)
    })
}

/// HTML that an API delivers, without what could run or track: safe to be in a page.
fn sanitize(cleaner: &ammonia::Builder<'_>, html: &Value) -> Result<Value, Error> {
    match html.kind() {
        ValueKind::None => Ok(Value::from("")),
        ValueKind::String => {
            let html = html.as_str().unwrap_or_default();
            Ok(Value::from_safe_string(cleaner.clean(html).to_string()))
        }
        kind => Err(wrong_kind("sanitize", "text", kind)),
    }
}

/// A moment, in seconds since 1970 or as ISO 8601 writes it, by how long before the request it was.
fn timeago(state: &mut State<'_, '_>, moment: &Value) -> Result<String, Error> {
    let moment = match moment.kind() {
        ValueKind::Number => f64::try_from(moment.clone())?,
        ValueKind::String => {
            let seconds = Kwargs::from_iter([("format", Value::from("%s"))]);
            let seconds = state.apply_filter("dateformat", &[moment.clone(), seconds.into()])?;
            let seconds = seconds.as_str().and_then(|seconds| seconds.parse().ok());
            seconds.ok_or_else(|| {
                Error::new(ErrorKind::InvalidOperation, "timeago takes no moment of that kind")
            })?
        }
        kind => {
            let wanted = "seconds since 1970, or text as of ISO 8601";
            return Err(wrong_kind("timeago", wanted, kind));
        }
    };
    let now = match state.lookup("now").map(f64::try_from) {
        Some(Ok(now)) => now,
        _ => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |past| past.as_secs_f64()),
    };
    let distance = (now - moment).abs();
    let (unit_s, unit) = match distance {
        d if d < 1.0 => return Ok("just now".to_owned()),
        d if d < MINUTE_S => (1.0, "second"),
        d if d < HOUR_S => (MINUTE_S, "minute"),
        d if d < DAY_S => (HOUR_S, "hour"),
        d if d < MONTH_S => (DAY_S, "day"),
        d if d < YEAR_S => (MONTH_S, "month"),
        _ => (YEAR_S, "year"),
    };
    let count = (distance / unit_s).floor();
    let plural = if count == 1.0 { "" } else { "s" };
    Ok(if now >= moment {
        format!("{count} {unit}{plural} ago")
    } else {
        format!("in {count} {unit}{plural}")
    })
}

/// The host of a URL, without `www.`; empty when the text is no URL with a host.
fn domain(url: &Value) -> Result<String, Error> {
    let url = match url.kind() {
        ValueKind::None => return Ok(String::new()),
        ValueKind::String => url.as_str().unwrap_or_default(),
        kind => return Err(wrong_kind("domain", "a URL", kind)),
    };
    let Some((_, rest)) = url.split_once("://") else { return Ok(String::new()) };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // An IPv6 address is in brackets and has colons of its own.
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let host = host.to_lowercase();
    Ok(host.strip_prefix("www.").map_or(host.clone(), str::to_owned))
}

/// A list of lists as one list.
fn flatten(lists: &Value) -> Result<Value, Error> {
    let mut flat = Vec::new();
    for list in lists.try_iter()? {
        match list.kind() {
            ValueKind::Seq | ValueKind::Iterable => flat.extend(list.try_iter()?),
            _ => flat.push(list),
        }
    }
    Ok(Value::from(flat))
}

/// minijinja's `int`, but that what is not finite is no number to it: it makes `inf` the largest
/// that there is, and any sum with that fails (3.1.0).
fn int(
    state: &State<'_, '_>,
    value: &Value,
    default: Option<Value>,
    base: Option<u32>,
    named: Kwargs,
) -> Result<Value, Error> {
    let radix = match base {
        Some(base) => base,
        None => named.get::<Option<u32>>("base")?.unwrap_or(10),
    };
    // In another base `inf` may be a number like any other.
    if radix != 10 || is_finite(value) {
        return minijinja::filters::int(state, value, default, base, named);
    }
    let by_name = named.get::<Option<Value>>("default")?;
    named.assert_all_used()?;
    let what = || format!("{value} is no whole number");
    default.or(by_name).ok_or_else(|| Error::new(ErrorKind::InvalidOperation, what()))
}

/// The beginning of a text, with what Jinja2 takes without a name, in its order, as well.
fn truncate(
    state: &mut State<'_, '_>,
    text: &Value,
    plain: Rest<Value>,
    named: Kwargs,
) -> Result<Value, Error> {
    let mut all = Vec::new();
    for name in named.args() {
        all.push((name.to_owned(), named.peek::<Value>(name)?));
    }
    for (name, value) in TRUNCATE_NAMES.iter().zip(&*plain) {
        if named.has(name) {
            let twice = format!("`{name}` of truncate is given twice");
            return Err(Error::new(ErrorKind::TooManyArguments, twice));
        }
        all.push(((*name).to_owned(), value.clone()));
    }
    if plain.len() > TRUNCATE_NAMES.len() {
        return Err(Error::from(ErrorKind::TooManyArguments));
    }
    minijinja_contrib::filters::truncate(state, text, all.into_iter().collect())
}

const TRUNCATE_NAMES: &[&str] = &["length", "killwords", "end", "leeway"];

/// Whether a value is no number without an end, and no text of one.
fn is_finite(value: &Value) -> bool {
    let number = match value.kind() {
        ValueKind::Number => f64::try_from(value.clone()).ok(),
        ValueKind::String => value.as_str().and_then(|text| text.parse::<f64>().ok()),
        _ => None,
    };
    number.is_none_or(f64::is_finite)
}

fn wrong_kind(filter: &str, wanted: &str, found: ValueKind) -> Error {
    let kind = match found {
        ValueKind::Undefined => ErrorKind::UndefinedError,
        _ => ErrorKind::InvalidOperation,
    };
    Error::new(kind, format!("{filter} needs {wanted}, not {}", kind_name(found)))
}

const MINUTE_S: f64 = 60.0;
const HOUR_S: f64 = 3600.0;
const DAY_S: f64 = 86_400.0;
const MONTH_S: f64 = 30.0 * DAY_S;
const YEAR_S: f64 = 365.0 * DAY_S;

#[cfg(test)]
mod tests {
    use super::super::environment;
    use minijinja::context;

    fn eval(expression: &str) -> String {
        let environment = environment::new();
        let expression = environment.compile_expression(expression).unwrap();
        expression.eval(context!(now => 1_000_000_000)).unwrap().to_string()
    }

    #[test]
    fn sanitize_keeps_text_and_drops_what_runs() {
        let clean =
            eval("'<p onclick=x>a<script>b</script> <a href=\"https://c/\">c</a>' | sanitize");
        let wanted = "<p>a <a href=\"https://c/\" rel=\"nofollow noopener noreferrer\">c</a></p>";
        assert_eq!(clean, wanted);
        assert_eq!(
            eval("'<a href=\"javascript:x\">c</a>' | sanitize").matches("javascript").count(),
            0
        );
        assert_eq!(eval("none | sanitize"), "");
    }

    #[test]
    fn timeago_counts_from_the_request() {
        assert_eq!(eval("1000000000 | timeago"), "just now");
        assert_eq!(eval("999999999 | timeago"), "1 second ago");
        assert_eq!(eval("(now - 3 * 3600) | timeago"), "3 hours ago");
        assert_eq!(eval("(now - 86400) | timeago"), "1 day ago");
        assert_eq!(eval("(now + 120) | timeago"), "in 2 minutes");
        assert_eq!(eval("(now - 86400 * 800) | timeago"), "2 years ago");
        // The request came at 2001-09-09T01:46:40Z.
        assert_eq!(eval("'2001-09-09T00:46:40Z' | timeago"), "1 hour ago");
        assert_eq!(eval("'2001-09-09T00:46:40+01:00' | timeago"), "2 hours ago");
        assert_eq!(eval("'2001-09-08 02:46:40.5' | timeago"), "23 hours ago");
        assert_eq!(eval("'2001-09-07' | timeago"), "2 days ago");
    }

    #[test]
    fn timeago_finds_the_request_from_within_a_macro() {
        let environment = environment::new();
        let text = "{% macro m(t) %}{{ t | timeago }}{% endmacro %}{{ m(999999000) }}";
        let rendered = environment.render_str(text, context!(now => 1_000_000_000));
        assert_eq!(rendered.unwrap(), "16 minutes ago");
    }

    #[test]
    fn domain_is_the_host_without_www() {
        assert_eq!(eval("'https://www.Example.com:8080/a?b' | domain"), "example.com");
        assert_eq!(eval("'http://user@blog.example.org' | domain"), "blog.example.org");
        assert_eq!(eval("'http://[::1]/x' | domain"), "[::1]");
        assert_eq!(eval("'nonsense' | domain"), "");
        assert_eq!(eval("none | domain"), "");
    }

    #[test]
    fn int_takes_what_is_not_finite_for_no_number() {
        for text in ["inf", "-inf", "infinity", "nan", "1e999"] {
            assert_eq!(eval(&format!("'{text}' | int(default=1)")), "1", "{text}");
            assert_eq!(eval(&format!("'{text}' | int(7, base=10)")), "7", "{text}");
            assert_eq!(eval(&format!("'{text}' | float | int(default=2)")), "2", "{text}");
        }
        let environment = environment::new();
        let bare = environment.compile_expression("'inf' | int").unwrap();
        assert!(bare.eval(context!()).unwrap_err().to_string().contains("inf is no whole number"));
        assert_eq!(eval("'12' | int"), "12");
        assert_eq!(eval("'1.9' | int"), "1");
        assert_eq!(eval("'x' | int(default=3)"), "3");
        assert_eq!(eval("'inf' | int(base=36)"), "24171");
        assert_eq!(eval("none | int(default=4)"), "4");
    }

    #[test]
    fn truncate_takes_what_has_no_name_too() {
        assert_eq!(eval("'hello wide world' | truncate(11, true, '..', 0)"), "hello wid..");
        assert_eq!(eval("'hello wide world' | truncate(8, leeway=0)"), "hello...");
        assert_eq!(eval("'hello wide world' | truncate(length=8, leeway=0)"), "hello...");
        let environment = environment::new();
        for wrong in ["'a' | truncate(1, length=2)", "'a' | truncate(1, 2, 3, 4, 5)"] {
            let wrong = environment.compile_expression(wrong).unwrap();
            assert_eq!(
                wrong.eval(context!()).unwrap_err().kind(),
                minijinja::ErrorKind::TooManyArguments
            );
        }
    }

    #[test]
    fn flatten_opens_one_level() {
        assert_eq!(eval("[[1, 2], [], [[3]], 4] | flatten"), "[1, 2, [3], 4]");
    }
}
