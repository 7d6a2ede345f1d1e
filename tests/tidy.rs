//! The house rules that the compiler does not check: layers, lengths, dead files, leftovers.
//!
//! It reads the sources as text, with comments and literals blanked where only code counts. That
//! is less than a parser sees, and enough: what it misses, a reviewer would have to hide on
//! purpose. Each rule has a test that shows a bad sample being caught.

#[path = "tidy/text.rs"]
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::{fs, io};

use self::text::{blank, ident, is_ident, line_of, words};

#[test]
fn the_house_is_tidy() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Sources::new();
    for folder in ["src", "tests", "bench"] {
        collect(&root.join(folder), folder, &mut sources)?;
    }
    assert!(sources.contains_key("src/lib.rs") && sources.contains_key("tests/tidy.rs"));
    let findings = check(&sources);
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} findings:\n{}", lines.len(), lines.join("\n"));
    Ok(())
}

/// The layer of each module. A module imports from lower layers only; `src/lib.rs` has the same
/// table for readers, and `the_map_of_the_house_agrees` compares them.
const LAYERS: &[(&str, u8)] = &[
    ("limits", 0),
    ("error", 0),
    ("http", 1),
    ("config", 1),
    ("driver", 1),
    ("metrics", 1),
    ("capacity", 1),
    ("coding", 2),
    ("tls", 2),
    ("press", 2),
    ("site", 3),
    ("upstream", 4),
    ("page", 5),
    ("worker", 6),
    ("control", 7),
    ("cli", 8),
    ("main", 9),
];
/// Modules that may be generic over the driver.
const DRIVER_BOUNDS: &[&str] = &["driver", "upstream", "page", "worker", "control", "cli", "main"];
const COLUMNS_MAX: usize = 100;
const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
/// Macros that a finished program has no use for.
const LEFTOVER_MACROS: &[&str] = &["todo", "unimplemented", "dbg"];
/// Where unsafe code may be: the loop that talks to the kernel itself, and the relay of the bench,
/// a package of its own. The compiler forbids it elsewhere; who allows it to itself is found here.
const UNSAFE_IN: &[&str] = &["src/driver/ring/", "bench/floor/"];
/// Words that mark work to be done; they belong into an issue. In two parts, as this file is
/// checked as well.
const LEFTOVER_WORDS: &[&str] = &[concat!("FIX", "ME"), concat!("XX", "X")];

/// Sources by their path from the root of the repository.
type Sources = BTreeMap<String, String>;

/// Where a rule is broken.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    file: String,
    line: usize,
    rule: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.rule)
    }
}

fn collect(folder: &Path, name: &str, sources: &mut Sources) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            // What cargo builds in a workspace of its own is nobody's source.
            if entry.file_name() == "target" {
                continue;
            }
            collect(&entry.path(), &name, sources)?;
        } else if name.ends_with(".rs") {
            sources.insert(name, fs::read_to_string(entry.path())?);
        }
    }
    Ok(())
}

fn check(sources: &Sources) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, text) in sources {
        let code = blank(text);
        let mut broken = lines_too_long(text);
        broken.extend(leftovers(text, &code));
        if module_of(file).is_some() || file.starts_with("bench/") {
            broken.extend(file_shape(text));
            broken.extend(functions_too_long(&code));
        }
        if let Some(module) = module_of(file) {
            broken.extend(imports_upward(file, module, &code));
            broken.extend(driver_bounds(module, &code));
        }
        if !UNSAFE_IN.iter().any(|folder| file.starts_with(folder)) {
            broken.extend(unsafe_code(&code));
        }
        broken.sort_by_key(|(line, _)| *line);
        let found = |(line, rule)| Finding { file: file.clone(), line, rule };
        findings.extend(broken.into_iter().map(found));
    }
    findings.extend(dead_files(sources));
    findings
}

/// What a rule finds in one file: the line, and what is wrong with it.
type Broken = Vec<(usize, String)>;

fn lines_too_long(text: &str) -> Broken {
    let columns = text.lines().map(|line| line.chars().count());
    let long = columns.zip(1..).filter(|(columns, _)| *columns > COLUMNS_MAX);
    long.map(|(columns, line)| (line, format!("{columns} columns; {COLUMNS_MAX} at most")))
        .collect()
}

fn file_shape(text: &str) -> Broken {
    let mut broken = Broken::new();
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        let rule = format!("a file of {lines} lines; {FILE_LINES_MAX} at most: split it by nouns");
        broken.push((FILE_LINES_MAX + 1, rule));
    }
    if !text.starts_with("//!") {
        broken.push((1, "a source begins with a `//!` that says what it owns".to_owned()));
    }
    broken
}

fn leftovers(text: &str, code: &str) -> Broken {
    let mut broken = Broken::new();
    for name in LEFTOVER_MACROS {
        let calls = words(code, name).filter(|at| code[at + name.len()..].starts_with('!'));
        broken.extend(calls.map(|at| (line_of(code, at), format!("`{name}!` is a leftover"))));
    }
    for word in LEFTOVER_WORDS {
        let rule = format!("{word}: do it, or open an issue");
        broken.extend(words(text, word).map(|at| (line_of(text, at), rule.clone())));
    }
    for at in words(code, "allow") {
        let before = code[..at].trim_end();
        let attribute = before.strip_suffix('[').map(str::trim_end);
        if attribute.is_some_and(|before| before.ends_with('#') || before.ends_with("#!")) {
            let rule = "a bare allow: write `#[expect(lint, reason = \"...\")]`".to_owned();
            broken.push((line_of(code, at), rule));
        }
    }
    broken
}

fn unsafe_code(code: &str) -> Broken {
    let unsafe_at = words(code, "unsafe").map(|at| line_of(code, at));
    unsafe_at.map(|line| (line, "unsafe code is for src/driver/ring".to_owned())).collect()
}

fn functions_too_long(code: &str) -> Broken {
    let mut broken = Broken::new();
    for at in words(code, "fn") {
        let name = ident(code[at + 2..].trim_start());
        let Some(end) = body_end(code, at) else { continue };
        let lines = line_of(code, end) - line_of(code, at) + 1;
        if lines > FUNCTION_LINES_MAX && !name.is_empty() {
            let rule = format!("`{name}` has {lines} lines; {FUNCTION_LINES_MAX} at most");
            broken.push((line_of(code, at), rule));
        }
    }
    broken
}

/// Where the body of the function at `at` ends; `None` when it has none.
fn body_end(code: &str, at: usize) -> Option<usize> {
    let (mut nested, mut braces) = (0_usize, 0_usize);
    for (offset, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'(' | b'[' => nested += 1,
            b')' | b']' => nested = nested.saturating_sub(1),
            b';' if nested == 0 && braces == 0 => return None,
            b'{' => braces += 1,
            b'}' if braces <= 1 => return (braces == 1).then_some(offset),
            b'}' => braces -= 1,
            _ => {}
        }
    }
    None
}

fn imports_upward(file: &str, module: &str, code: &str) -> Broken {
    let mut broken = Broken::new();
    let mut names: Vec<(usize, String)> = Vec::new();
    for root in ["crate", "ringpress"] {
        names.extend(words(code, root).flat_map(|at| first_names(code, at + root.len())));
    }
    for at in words(code, "super").filter(|at| !code[..*at].ends_with("super::")) {
        let mut end = at + "super".len();
        while code[end..].starts_with("::super") {
            end += "::super".len();
        }
        let supers = 1 + (end - at) / "::super".len();
        // As many as lead to the crate, or more in a module of tests. What they name then is a
        // layer, unless it is the file's own.
        if supers >= depth_of(file) {
            let found = first_names(code, end).into_iter();
            names.extend(found.filter(|(_, name)| {
                layer_of(name).is_some() && !declared(code).any(|own| own == *name)
            }));
        }
    }
    for (at, name) in names.into_iter().filter(|(_, name)| name != module) {
        let rule = match (layer_of(module), layer_of(&name)) {
            (_, None) => format!("`{name}` is in no layer: add it to the tables"),
            (None, _) => format!("`{module}` is in no layer: add it to the tables"),
            (Some(ours), Some(theirs)) if theirs >= ours => {
                format!("`{module}` imports from `{name}`, which is not in a lower layer")
            }
            _ => continue,
        };
        broken.push((line_of(code, at), rule));
    }
    broken
}

/// The names that follow a path's root at `at`: one, or those of a group in braces.
fn first_names(code: &str, at: usize) -> Vec<(usize, String)> {
    let Some(path) = code[at..].trim_start().strip_prefix("::") else { return Vec::new() };
    let path = path.trim_start();
    let start = code.len() - path.len();
    if !path.starts_with('{') {
        let name = ident(path);
        return if name.is_empty() { Vec::new() } else { vec![(start, name.to_owned())] };
    }
    let (mut names, mut depth, mut expected) = (Vec::new(), 0, false);
    for (offset, character) in path.char_indices() {
        match character {
            '{' => (depth, expected) = (depth + 1, depth == 0),
            '}' if depth == 1 => break,
            '}' => depth -= 1,
            ',' => expected = depth == 1,
            _ if expected && is_ident(character) => {
                names.push((start + offset, ident(&path[offset..]).to_owned()));
                expected = false;
            }
            _ => {}
        }
    }
    names
}

fn driver_bounds(module: &str, code: &str) -> Broken {
    if DRIVER_BOUNDS.contains(&module) {
        return Broken::new();
    }
    let bounds = words(code, "Driver").filter(|at| {
        let before = code[..*at].trim_end();
        let path = before.trim_end_matches(|character| is_ident(character) || character == ':');
        let before = if before.ends_with("::") { path.trim_end() } else { before };
        before.ends_with([':', '+']) || ["impl", "dyn"].iter().any(|word| before.ends_with(word))
    });
    let rule = format!("`{module}` is not to be generic over the driver");
    bounds.map(|at| (line_of(code, at), rule.clone())).collect()
}

/// Sources that no `mod` leads to: they are not even compiled.
fn dead_files(sources: &Sources) -> Vec<Finding> {
    let mut alive = BTreeSet::new();
    let mut waiting = vec!["src/lib.rs".to_owned(), "src/main.rs".to_owned()];
    while let Some(file) = waiting.pop() {
        let Some(text) = sources.get(&file) else { continue };
        let (folder, name) = file.rsplit_once('/').unwrap_or_default();
        let folder = match name.strip_suffix(".rs").unwrap_or(name) {
            "lib" | "main" | "mod" => folder.to_owned(),
            name => format!("{folder}/{name}"),
        };
        for name in declared(&blank(text)) {
            waiting.push(format!("{folder}/{name}.rs"));
            waiting.push(format!("{folder}/{name}/mod.rs"));
        }
        alive.insert(file);
    }
    let dead = sources.keys().filter(|file| file.starts_with("src/") && !alive.contains(*file));
    let rule = "no `mod` leads here from src/lib.rs or src/main.rs: a dead file";
    dead.map(|file| Finding { file: file.clone(), line: 1, rule: rule.to_owned() }).collect()
}

/// The modules that a source declares in files of their own.
fn declared(code: &str) -> impl Iterator<Item = &str> {
    words(code, "mod").filter_map(|at| {
        let rest = code[at + 3..].trim_start();
        let name = ident(rest);
        rest[name.len()..].trim_start().starts_with(';').then_some(name)
    })
}

/// The module of a source in a layer, or `main`; `None` for the map itself and for tests.
fn module_of(file: &str) -> Option<&str> {
    let path = file.strip_prefix("src/")?.strip_suffix(".rs")?;
    let module = path.split('/').next()?;
    (module != "lib").then_some(module)
}

/// How many `super` lead from a source to the crate.
fn depth_of(file: &str) -> usize {
    let path = file.strip_suffix("/mod.rs").unwrap_or(file);
    path.matches('/').count()
}

fn layer_of(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

mod the_checker {
    use super::*;

    /// Findings for one file, among a crate that declares it.
    fn findings(file: &str, text: &str) -> Vec<String> {
        let mut sources = Sources::from([(file.to_owned(), text.to_owned())]);
        let map = LAYERS.iter().map(|(name, _)| format!("pub mod {name};\n"));
        sources.insert("src/lib.rs".to_owned(), format!("//! Map.\n{}", map.collect::<String>()));
        check(&sources).iter().map(ToString::to_string).collect()
    }

    fn in_site(code: &str) -> Vec<String> {
        findings("src/site/mod.rs", &format!("//! Site.\n{code}\n"))
    }

    #[track_caller]
    fn assert_found(found: &[String], place: &str, word: &str) {
        let fits = |one: &String| one.starts_with(place) && one.contains(word);
        assert!(found.len() == 1 && found.iter().all(fits), "{place} {word}: {found:?}");
    }

    #[test]
    fn imports_go_down_only() {
        let good = "use crate::press::{Json, view};\nuse crate::{config, http::Head, site};";
        assert_eq!(in_site(good), [""; 0]);
        let bad = [
            "use crate::upstream::Pool;",
            "use crate::{config, page::{site, Page}};",
            "fn f() { crate\n::worker::start() }",
            "use super::cli::Args;",
            "use crate::attic::Old;",
        ];
        for (bad, word) in bad.iter().zip(["upstream", "page", "worker", "cli", "attic"]) {
            assert_found(&in_site(bad), "src/site/mod.rs:", word);
        }
        assert_found(&findings("src/press/mod.rs", "//! P.\nuse crate::site;"), "src", "`site`");
        assert_found(&findings("src/http/mod.rs", "//! H.\nuse crate::tls;"), "src", "`tls`");
        let in_plan = |code| imports_upward("src/site/plan.rs", "site", code).len();
        assert_eq!(in_plan("use super::super::{worker, config};"), 1);
        assert_eq!(in_plan("use super::worker;\nmod tests { use super::super::route; }"), 0);
        let main = "//! Main.\nuse ringpress::cli;\n// crate::nothing\n";
        assert_eq!(findings("src/main.rs", main), [""; 0]);
    }

    #[test]
    fn own_submodules_are_not_layers() {
        let found = findings("src/driver/mod.rs", "//! D.\nuse super::page;\nmod page;");
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn lengths_are_bounded() {
        let line = "x".repeat(COLUMNS_MAX - 3);
        assert_eq!(in_site(&format!("// {line}")), [""; 0]);
        assert_found(&in_site(&format!("// {line}ü")), "src/site/mod.rs:2: 101", "columns");
        let lines = "//\n".repeat(FILE_LINES_MAX - 2);
        assert_eq!(in_site(&lines), [""; 0]);
        let lines = "\n".repeat(FILE_LINES_MAX);
        assert_found(&in_site(&lines), "src/site/mod.rs:501: ", "lines");
    }

    #[test]
    fn functions_are_bounded() {
        let function = |lines: usize| {
            let body = "    let _ = (\"}\", '{', b'}', '\\'', r#\"}\"}\"#); // }\n".repeat(lines);
            format!("fn small() {{}}\nfn long<'a>(_: &'a [u8; 4]) {{\n{body}}}\nfn last();\n")
        };
        assert_eq!(in_site(&function(FUNCTION_LINES_MAX - 2)), [""; 0]);
        let found = in_site(&function(FUNCTION_LINES_MAX - 1));
        assert_found(&found, "src/site/mod.rs:3: ", "`long` has 71 lines");
    }

    #[test]
    fn leftovers_are_found() {
        for name in LEFTOVER_MACROS {
            assert_found(&in_site(&format!("fn f() {{ {name}!() }}")), "src/site/mod.rs:2: ", name);
            assert_eq!(in_site(&format!("// {name}!()\nfn {name}() {{}}")), [""; 0]);
        }
        for word in LEFTOVER_WORDS {
            assert_found(&findings("tests/a.rs", &format!("\n// {word}: x")), "tests/a.rs:2", word);
            assert_eq!(in_site(&format!("// {word}X")), [""; 0]);
        }
        for bad in ["#[allow(dead_code)]", "#![ allow(dead_code)]"] {
            assert_found(&in_site(bad), "src/site/mod.rs:2: ", "bare allow");
        }
        assert_eq!(
            in_site("#[expect(dead_code)]\nfn f() { self.allow(\"#[allow(x)]\") }"),
            [""; 0]
        );
    }

    #[test]
    fn the_driver_stays_where_connections_are() {
        let bad = ["fn f<D: Driver>() {}", "fn f(_: impl crate::driver::Driver) {}"];
        for bad in bad.iter().chain(&["fn f<D>() where D: 'static + Driver {}"]) {
            assert_found(&in_site(bad), "src/site/mod.rs:2: ", "generic over the driver");
        }
        assert_eq!(findings("src/page/mod.rs", "//! P.\nfn f<D: Driver>() {}"), [""; 0]);
        assert_eq!(in_site("use crate::config::Driver;\nstruct S(Driver, Driver::X);"), [""; 0]);
    }

    #[test]
    fn sources_begin_with_what_they_own() {
        assert_found(&findings("src/site/mod.rs", "use a;\n"), "src/site/mod.rs:1: ", "//!");
    }

    #[test]
    fn unsafe_code_stays_where_the_kernel_is() {
        let text = "//! Sample.\n// unsafe\nfn f() { unsafe { g() } }\n";
        assert_found(&findings("src/site/mod.rs", text), "src/site/mod.rs:3", "unsafe");
        let others = findings("src/driver/ring/kernel.rs", text);
        assert!(others.iter().all(|one| !one.contains("unsafe")), "{others:?}");
    }

    #[test]
    fn dead_files_are_found() {
        let sources = |text: &str| {
            let files = [("src/lib.rs", text), ("src/http/mod.rs", "//!\npub(crate) mod head;")];
            let more = [("src/http/head.rs", "//!\nmod a;"), ("src/http/head/a.rs", "//!")];
            let own = |(file, text): (&str, &str)| (file.to_owned(), text.to_owned());
            files.into_iter().chain(more).map(own).collect::<Sources>()
        };
        assert_eq!(check(&sources("//! Map.\npub mod http;")), []);
        let found = check(&sources("//! Map.\n// mod http;\nmod other { }"));
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|one| one.rule.contains("dead file")), "{found:?}");
    }

    #[test]
    fn the_map_of_the_house_agrees() -> io::Result<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(root.join("src/lib.rs"))?;
        let mut map = Vec::new();
        for row in text.lines().filter_map(|line| line.strip_prefix("//! | ")) {
            let Some((layer, rest)) = row.split_once(" | ") else { continue };
            let Ok(layer) = layer.parse::<u8>() else { continue };
            let names = rest.split('|').next().unwrap_or_default().split(", ");
            map.extend(names.map(|name| (layer, name.trim().trim_matches(['[', ']', '`']))));
        }
        for module in declared(&blank(&text)) {
            assert!(map.iter().any(|(_, name)| *name == module), "{module} has no row");
        }
        for (layer, name) in &map {
            let ours = layer_of(name);
            assert!(ours.is_some(), "{name} has no layer here");
            for (_, lower) in map.iter().filter(|(other, _)| other < layer) {
                assert!(layer_of(lower) < ours, "{lower} is below {name} in src/lib.rs");
            }
        }
        Ok(())
    }
}
