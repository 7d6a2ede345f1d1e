//! Templates and contexts by chance: mostly well formed, over the names that contexts have.

use super::Contents;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

const NAMES: &[&str] = &[
    "user", "items", "numbers", "none", "yes", "one", "minus", "pi", "text", "word", "map",
    "mixed", "nested", "nope", "x", "y", "loop", "path", "query",
];
const ATTRIBUTES: &[&str] =
    &["id", "name", "title", "starred", "a", "b", "index", "last", "length", "items", "nope"];
const FILTERS: &[&str] = &[
    "upper",
    "length",
    "default",
    "default('<d>')",
    "e",
    "safe",
    "first",
    "last",
    "list",
    "sort",
    "join(', ')",
    "string",
    "int",
    "reverse",
    "tojson",
    "trim",
    "items",
    "map(attribute='id')",
    "replace('a', '<')",
    "round",
    "sum",
    "title",
    "d(1, true)",
    "batch(2)",
];
const TESTS: &[&str] = &[
    "defined",
    "undefined",
    "none",
    "odd",
    "even",
    "string",
    "number",
    "mapping",
    "sequence",
    "iterable",
    "true",
    "divisibleby(2)",
    "in [1, 'a']",
    "safe",
];
const OPERATORS: &[&str] = &[
    "+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", "<=", ">", ">=", "and", "or", "in",
    "not in",
];

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        5 => select(NAMES).prop_map(str::to_owned),
        1 => (-3..20_i64).prop_map(|number| number.to_string()),
        1 => select(vec!["'a<b'", "\"it's\"", "''", "1.5", "true", "none", "[]", "{}"])
            .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            4 => (inner.clone(), select(ATTRIBUTES)).prop_map(|(of, name)| format!("{of}.{name}")),
            2 => (inner.clone(), select(FILTERS)).prop_map(|(of, name)| format!("({of})|{name}")),
            2 => (two.clone(), select(OPERATORS)).prop_map(|((a, b), op)| {
                format!("({a} {op} {b})")
            }),
            1 => two.clone().prop_map(|(of, key)| format!("{of}[{key}]")),
            1 => (inner.clone(), select(TESTS), any::<bool>()).prop_map(|(of, test, not)| {
                format!("({of} is {}{test})", if not { "not " } else { "" })
            }),
            1 => (two.clone(), inner.clone()).prop_map(|((a, b), c)| {
                format!("({a} if {b} else {c})")
            }),
            1 => two.clone().prop_map(|(a, b)| format!("({a} if {b})")),
            1 => two.prop_map(|(a, b)| format!("[{a}, {b}]")),
            1 => inner.clone().prop_map(|a| format!("(not {a})")),
            1 => inner.prop_map(|a| format!("{a}[:2]")),
        ]
    })
}

/// A template.
pub(super) fn template() -> impl Strategy<Value = String> {
    let expression = || expression();
    let leaf = prop_oneof![
        3 => select(vec!["text ", "<b>&amp;", "\n", "  ", "{# c #}", "é"]).prop_map(str::to_owned),
        4 => expression().prop_map(|e| format!("{{{{ {e} }}}}")),
        1 => expression().prop_map(|e| format!("{{{{- {e} -}}}}")),
        1 => (select(vec!["x", "y", "user"]), expression())
            .prop_map(|(name, e)| format!("{{% set {name} = {e} %}}")),
        1 => select(vec![
            "{{ loop.index }}", "{% break %}", "{% continue %}", "{{ loop.last }}",
            "{{ loop.cycle(1, 'b<') }}", "{% set x, y = [1, '<'] %}", "{{ m(x) }}", "{{ m(1, y) }}",
            "{{ loop.depth }}", "{{ loop.changed(x) }}", "{{ loop.nextitem is defined }}",
            "{{ loop.previtem }}", "{% if loop.depth < 3 %}({{ loop([x]) }}){% endif %}",
            "{% if loop.depth < 3 %}({{ loop(x.tags or [])|upper }}){% endif %}",
        ]).prop_map(str::to_owned),
    ];
    let body = leaf.prop_recursive(4, 40, 5, move |inner| {
        let body = proptest::collection::vec(inner, 1..4).prop_map(|parts| parts.concat());
        let two = (body.clone(), body.clone());
        prop_oneof![
            3 => body.clone(),
            3 => (expression(), two.clone())
                .prop_map(|(e, (a, b))| format!("{{% if {e} %}}{a}{{% else %}}{b}{{% endif %}}")),
            3 => (expression(), select(vec!["x", "y", "x, y"]), body.clone())
                .prop_map(|(e, x, a)| format!("{{% for {x} in {e} %}}{a}{{% endfor %}}")),
            1 => (expression(), two.clone()).prop_map(|(e, (a, b))| format!(
                "{{% for x in {e} recursive %}}{a}{{% if loop.depth < 3 %}}{{{{ loop([x, 1]) }}}}\
                 {{% endif %}}{b}{{% endfor %}}"
            )),
            1 => (expression(), body.clone())
                .prop_map(|(e, a)| format!("{{% call(x) w({e}) %}}{a}{{% endcall %}}")),
            1 => (expression(), expression(), two).prop_map(|(e, f, (a, b))| format!(
                "{{% for x in {e} if {f} %}}{a}{{% else %}}{b}{{% endfor %}}"
            )),
            1 => (expression(), body.clone())
                .prop_map(|(e, a)| format!("{{% with x = {e} %}}{a}{{% endwith %}}")),
            1 => body.clone().prop_map(|a| format!("{{% set x %}}{a}{{% endset %}}{{{{ x }}}}")),
            1 => body.clone().prop_map(|a| format!("{{% filter upper %}}{a}{{% endfilter %}}")),
            1 => body.clone().prop_map(|a| {
                format!("{{% autoescape false %}}{a}{{% endautoescape %}}")
            }),
            1 => body.prop_map(|a| format!("{{% block b %}}{a}{{% endblock %}}")),
        ]
    });
    (any::<bool>(), proptest::collection::vec(body, 1..4)).prop_map(|(with_macro, parts)| {
        let declared = "{% set t = user %}\
                        {% macro m(p, q='<') %}[{{ p }}{{ q }}{{ t.name }}]{% endmacro %}\
                        {% macro w(p) %}{{ t.id }}{% if caller %}({{ caller(p) }}){% endif %}\
                        {% endmacro %}";
        format!("{}{}", if with_macro { declared } else { "" }, parts.concat())
    })
}

/// What upstreams may say.
pub(super) fn context() -> impl Strategy<Value = Contents> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|flag| json!(flag)),
        (-2..5_i64).prop_map(|number| json!(number)),
        any::<i64>().prop_map(|number| json!(number)),
        any::<u64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        "[a-c<&/\"' \u{e9}]{0,6}".prop_map(|text| json!(text)),
        any::<String>().prop_map(|text| json!(text)),
    ];
    let value = leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|items| json!(items)),
            proptest::collection::btree_map(select(ATTRIBUTES), inner, 0..4)
                .prop_map(|map| json!(map)),
        ]
    });
    let names = NAMES.iter().filter(|name| !["loop", "path", "query", "nope"].contains(*name));
    let names: Vec<String> = names.map(|name| (*name).to_owned()).collect();
    proptest::collection::btree_map(select(names), value, 0..8)
}
