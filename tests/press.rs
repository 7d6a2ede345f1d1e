//! Pages are made by programs, and what a program makes is, byte for byte, what minijinja makes of
//! the template. Where a program gives up, minijinja makes the page or the error.

#![expect(clippy::unwrap_used, reason = "a test helper that fails is a test that fails")]

use proptest::prelude::*;
use ringpress::config::SourceFile;
use ringpress::press::{
    self, Assets, Binding, Builder, Context, Data, Inputs, Names, Press, TemplateId, Uses,
};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

#[path = "press/generate.rs"]
mod generate;

#[test]
fn templates_of_a_line() {
    let text = include_str!("press/lines.txt");
    let lines = text.lines().filter(|line| !line.is_empty());
    let mut shown = String::new();
    let mut count = 0;
    for line in lines {
        if line.starts_with("#") && !line.starts_with("{#") {
            let _ = writeln!(shown, "{line}");
            continue;
        }
        let text = line.replace("\\n", "\n");
        let Some(templates) = Templates::new(vec![SourceFile::new("page.html", text)]) else {
            let _ = writeln!(shown, "{line}\n    does not compile");
            continue;
        };
        count += 1;
        let mut contexts = contexts();
        // Millions of steps or bytes take a while, and see nothing of a context.
        if line.contains("100000") {
            contexts.truncate(1);
        }
        let ways: Vec<String> = contexts.iter().map(|context| templates.compare(context)).collect();
        let _ = writeln!(shown, "{line}\n    {}", ways.join(" | "));
    }
    assert!(count >= 300, "there are {count}");
    insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(shown) });
}

#[test]
fn several_templates() {
    let mut shown = String::new();
    for case in include_str!("press/templates.txt").split("=== ").skip(1) {
        let (name, files) = case.split_once('\n').unwrap();
        let files = files.split("--- ").skip(1).map(|file| {
            let (name, text) = file.split_once('\n').unwrap();
            SourceFile::new(name, text)
        });
        let Some(templates) = Templates::new(files.collect()) else {
            let _ = writeln!(shown, "{name}\n    does not compile");
            continue;
        };
        let ways: Vec<String> =
            contexts().iter().map(|context| templates.compare(context)).collect();
        let _ = writeln!(shown, "{name}\n    {}", ways.join(" | "));
    }
    insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(shown) });
}

/// As [`several_templates`], each with the JSON that stands with it, instead of the usual contexts.
#[test]
fn templates_with_json_of_their_own() {
    let mut shown = String::new();
    for case in include_str!("press/cases.txt").split("=== ").skip(1) {
        let (name, files) = case.split_once('\n').unwrap();
        let parts = files.split("--- ").skip(1).map(|part| part.split_once('\n').unwrap());
        let (data, files): (Vec<_>, Vec<_>) = parts.partition(|(name, _)| *name == "json");
        let files = files.into_iter().map(|(name, text)| SourceFile::new(name, text)).collect();
        let Some(templates) = Templates::new(files) else {
            let _ = writeln!(shown, "{name}\n    does not compile");
            continue;
        };
        let contexts = data.into_iter().map(|(_, json)| serde_json::from_str(json).unwrap());
        let mut contexts: Vec<Contents> = contexts.collect();
        if contexts.is_empty() {
            contexts.push(Contents::new());
        }
        let ways: Vec<String> = contexts.iter().map(|context| templates.compare(context)).collect();
        let _ = writeln!(shown, "{name}\n    {}", ways.join(" | "));
    }
    insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(shown) });
}

/// All templates of the sites of this repository, each with each context of `sites.json`.
#[test]
fn templates_of_sites() {
    let contexts: Vec<Contents> = serde_json::from_str(include_str!("press/sites.json")).unwrap();
    let mut shown = String::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["templates/hello", "templates/news", "bench/site", "tests/sites-e2e/prometheus"]
    {
        let files = files_of(&root.join(folder), "");
        for file in &files {
            // The page is the first.
            let mut files: Vec<SourceFile> = files.clone();
            files.retain(|other| other.name != file.name);
            files.insert(0, file.clone());
            let templates = Templates::new(files).unwrap();
            let ways: Vec<String> =
                contexts.iter().map(|context| templates.compare(context)).collect();
            let _ = writeln!(shown, "{folder}/{}\n    {}", file.name, ways.join(" | "));
        }
    }
    insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(shown) });
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_template(template in generate::template(), context in 0..3_usize) {
        if let Some(templates) = Templates::new(vec![SourceFile::new("page.html", template)]) {
            templates.compare(&contexts()[context]);
        }
    }

    #[test]
    fn any_context(template in generate::template(), context in generate::context()) {
        if let Some(templates) = Templates::new(vec![SourceFile::new("page.html", template)]) {
            templates.compare(&context);
        }
    }
}

#[test]
fn what_is_left_to_minijinja_is_told() {
    let files = vec![SourceFile::new("page.html", "a\n{% for x in self.b() %}{% endfor %}")];
    let templates = Templates::new(files).unwrap();
    let uncovered = templates.press.uncovered(templates.id).unwrap();
    assert_eq!(uncovered.to_string(), "page.html:2: a block called by `self`");
    let plain = Templates::new(vec![SourceFile::new("page.html", "{{ user }}")]).unwrap();
    assert_eq!(plain.press.uncovered(plain.id), None);
}

/// A thread, or a tree of comments: as deep as JSON may be, and deeper than a stack would bear.
#[test]
fn what_calls_itself_goes_as_deep_as_there_is_room_and_minijinja_takes_over_from_there() {
    let worker = std::thread::Builder::new().stack_size(ringpress::limits::WORKER_STACK_BYTES);
    worker.spawn(call_deep).unwrap().join().unwrap();
}

fn call_deep() {
    let shapes = [
        "{% for n in [1] recursive %}{% if loop.depth < DEPTH %}<{{ loop([1]) }}>{% endif %}\
         {{ loop.depth }} {% endfor %}",
        "{% for n in [1] recursive %}{% if loop.depth < DEPTH %}{% set s = loop([1]) %}{{ s }}\
         {% endif %}{{ loop.depth }} {% endfor %}",
        "{% macro m(n) %}{% if n %}<{{ m(n - 1) }}>{{ n }} {% endif %}{% endmacro %}{{ m(DEPTH) }}",
        "{% macro m(n) %}{% if n %}{% set s = m(n - 1) %}{{ s }}{{ n }} {% endif %}{% endmacro %}\
         {{ m(DEPTH) }}",
        "{% macro w(n) %}<{{ caller(n) }}>{% endmacro %}\
         {% macro m(n) %}{% if n %}{% call(k) w(n) %}{{ m(k - 1) }}{% endcall %}{{ n }} {% endif %}\
         {% endmacro %}{{ m(DEPTH) }}",
    ];
    let deep = format!(
        "{{% macro m(n) %}}{{{{ (m(n - 1) if n) {} }}}}{{% endmacro %}}{{{{ m(DEPTH) }}}}",
        "~ 1 ".repeat(190)
    );
    let shallow = "{% macro m(n) %}{{ m(n - 1) if n else 'end' }}{% endmacro %}{{ m(DEPTH) }}";
    for shape in shapes.into_iter().chain([shallow]) {
        let _ = &deep;
        let way = |depth: &str| {
            let file = SourceFile::new("page.html", shape.replace("DEPTH", depth));
            Templates::new(vec![file]).unwrap().compare(&contexts()[0])
        };
        let few = if shape == deep { "2" } else { "20" };
        assert_eq!(way(few), "program", "{shape}");
        assert_ne!(way("400"), "program", "{shape}");
    }
}

#[test]
fn what_is_nested_deeper_than_a_stack_is_left_to_minijinja() {
    let links: String = (0..300).map(|n| format!("{{% elif n == {n} %}}{n}")).collect();
    let text = format!("{{% if no %}}{links}{{% endif %}}");
    let templates = Templates::new(vec![SourceFile::new("page.html", text)]).unwrap();
    let way = templates.compare(&contexts()[0]);
    assert_eq!(way, "uncovered: over 50 bodies in each other");
}

/// minijinja goes as deep on the stack as a chain is long: an overflow would end the process.
#[test]
fn a_chain_of_operations_has_a_bound_and_up_to_it_the_page_is_made() {
    let long = |start: &str, link: &str, links: usize| format!("{start}{}", link.repeat(links));
    let shapes = [
        ("1", "+1", 200),
        ("user", "|string", 200),
        ("user.name", ".length", 199),
        ("1", " if user else 1", 100),
        ("user", " and user", 200),
        ("1", "~1", 200),
        ("1", " is defined", 200),
        ("[[1]]", "[0]", 198),
    ];
    for (start, link, most) in shapes {
        let file = |links| {
            let text = format!("\n{{{{ {} }}}}", long(start, link, links));
            SourceFile::new("page.html", text)
        };
        Templates::new(vec![file(most)]).unwrap().compare(&contexts()[0]);
        let problems = Builder::default().template(&file(most + 1)).unwrap_err();
        let shown = problems[0].to_string();
        let wanted = "error: over 200 operations in one expression\n --> page.html:2:";
        assert!(shown.starts_with(wanted), "{link}: {shown}");
    }
    let elifs = |links| format!("{{% if no %}}{}{{% endif %}}", long("", "{% elif no %}", links));
    Templates::new(vec![SourceFile::new("page.html", elifs(500))]).unwrap();
    // One after the other, they are in no other.
    Templates::new(vec![SourceFile::new("page.html", elifs(300).repeat(2))]).unwrap();
    let problems = Builder::default().template(&SourceFile::new("page.html", elifs(501)));
    assert!(problems.unwrap_err()[0].to_string().contains("over 500 `elif`s in one `if`"));
}

/// Otherwise the size of an API's answer would decide how long a page holds the loop.
#[test]
fn looking_at_a_long_list_again_and_again_costs_fuel() {
    let numbers: Vec<u32> = (0..20_000).collect();
    let contents = Contents::from([("l".to_owned(), serde_json::json!(numbers))]);
    for looks in ["l|length", "19999 in l", "l[loop.index0]"] {
        let text = format!("{{% for x in l %}}{{{{ {looks} }}}}{{% endfor %}}");
        let templates = Templates::new(vec![SourceFile::new("page.html", text)]).unwrap();
        let way = templates.compare(&contents);
        // What minijinja does then is its own matter: it may run out of fuel, too.
        assert!(matches!(&*way, "gave up: it takes too long" | "error"), "{looks}: {way}");
    }
}

#[test]
fn what_a_filter_applies_may_depend_on_the_time() {
    for (text, is_pure) in [
        ("{{ numbers|map('abs')|join }}", true),
        ("{{ items|map(attribute='id')|join }}", true),
        ("{{ numbers|map('timeago')|join }}", false),
        ("{{ numbers|map(word)|join }}", false),
    ] {
        let templates = Templates::new(vec![SourceFile::new("page.html", text)]).unwrap();
        assert_eq!(templates.press.is_pure(templates.id), is_pure, "{text}");
    }
}

/// The names of a page and the JSON of each.
type Contents = BTreeMap<String, serde_json::Value>;

fn contexts() -> Vec<Contents> {
    serde_json::from_str(include_str!("press/contexts.json")).unwrap()
}

struct Templates {
    text: String,
    press: Press,
    id: TemplateId,
}

impl Templates {
    /// Compiles templates, if all are well formed; the first is the page.
    fn new(files: Vec<SourceFile>) -> Option<Self> {
        let mut assets = Assets::default();
        assets.add("style.css".to_owned(), "/assets/style.0123456789.css".to_owned());
        let mut builder = Builder::default().with_assets(Arc::new(assets));
        let page = files.first()?.name.clone();
        let text = files.first()?.text.clone();
        for file in &files {
            builder.template(file).ok()?;
        }
        let press = builder.finish().ok()?;
        let id = press.template(&page)?;
        Some(Self { text, press, id })
    }

    /// Makes the page in each way, and says which way it goes.
    ///
    /// # Panics
    /// When it matters which way.
    fn compare(&self, contents: &Contents) -> String {
        let case = format!("{:?} with {contents:?}", self.text);
        let names = Arc::new(Names::new(contents.keys().map(String::as_str)));
        let binding = self.press.bind(self.id, &names);
        let (context, other) = (context(&names, contents), context(&names, contents));
        let mut wanted = b"before".to_vec();
        let reference = self.press.by_minijinja(self.id, &other, &mut wanted);
        let reference = reference.map_err(|error| error.chain());
        let mut alone = b"before".to_vec();
        let program = self.press.by_program(self.id, &binding, &context, &mut alone);
        if program.is_ok() {
            assert_eq!(show(&alone), show(&wanted), "the program's page of {case}");
            assert_eq!(reference, Ok(()), "the program made {:?} of {case}", show(&alone));
        } else {
            assert_eq!(show(&alone), "before", "what is left of {case}");
        }
        let mut page = b"before".to_vec();
        let made = self.press.page(self.id, &binding, &context, &mut page);
        assert_eq!(made.map_err(|error| error.chain()), reference, "{case}");
        assert_eq!(show(&page), show(&wanted), "the page of {case}");
        self.way(&binding, program, reference.is_ok())
    }

    fn way(&self, _: &Binding, program: Result<(), &str>, is_page: bool) -> String {
        match (program, self.press.uncovered(self.id), is_page) {
            (Ok(()), ..) => "program".to_owned(),
            (Err(_), Some(uncovered), _) => format!("uncovered: {}", uncovered.what),
            (Err(why), None, true) => format!("gave up: {why}"),
            (Err(_), None, false) => "error".to_owned(),
        }
    }
}

fn context(names: &Arc<Names>, contents: &Contents) -> Context {
    let inputs = Inputs {
        method: "GET".into(),
        path: "/a b".into(),
        target: "/a%20b?q=1".into(),
        query: vec![("q".into(), "<1>".into()), ("é".into(), "".into())],
        params: [("id".into(), "4/2".into())].into_iter().collect(),
        headers: vec![("user-agent".into(), "test".into()), ("cookie".into(), "a=1".into())],
        host: "example.com".into(),
        scheme: "https",
        client: "127.0.0.1".into(),
        request_id: "1-2".into(),
        session: None,
        now: 1_700_000_100,
        ..Inputs::default()
    };
    let uses = Uses { query: true, headers: true, cookies: true, request: true, ..Uses::default() };
    let context = Context::new(names.clone(), uses, inputs);
    for (node, value) in contents.values().enumerate() {
        context.set(node, data(value));
    }
    context
}

/// As a fetch would give it; a list of objects as one of an `each`.
fn data(value: &serde_json::Value) -> Data {
    match value {
        serde_json::Value::Array(items) if items.iter().all(serde_json::Value::is_object) => {
            Data::List(items.iter().map(data).collect())
        }
        value => press::parse(value.to_string().as_bytes()).unwrap(),
    }
}

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn files_of(folder: &Path, below: &str) -> Vec<SourceFile> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            files.extend(files_of(&entry.path(), &format!("{name}/")));
        } else if name.ends_with(".html") || name.ends_with(".atom") {
            files.push(SourceFile::new(name, std::fs::read_to_string(entry.path()).unwrap()));
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}
