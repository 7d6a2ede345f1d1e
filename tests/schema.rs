//! The JSON Schema of site.toml beside the readers of it: the same keys, and the same sites that
//! are fine.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, and so do its helpers")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use boon::{Compiler, SchemaIndex, Schemas};
use ringpress::config::{self, Problem, SCHEMA, SourceFile};
use serde_json::{Map, Value, json};

/// A key that no table has.
const UNKNOWN: &str = "qqqqqqqqqqqq";

#[test]
fn the_schema_has_the_keys_that_the_readers_have() {
    let mut tables = Vec::new();
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    tables_of(&schema, &schema, &mut |value| value, &mut tables);
    assert!(tables.len() > 15, "{}", tables.len());
    for table in &tables {
        let text = toml::to_string(&table.example).unwrap();
        let problems = problems(&text);
        let mut told = problems.iter().filter(|problem| problem.message.contains(UNKNOWN));
        let Some(told) = told.next() else {
            panic!("no reader complained of an unknown key in\n{text}\nbut {problems:?}");
        };
        let hint = told.hint.as_deref().unwrap_or_default();
        let keys = hint.strip_prefix("the keys here are ").unwrap_or_else(|| panic!("{told}"));
        let keys: BTreeSet<String> = keys.split(", ").map(str::to_owned).collect();
        assert_eq!(
            table.keys, keys,
            "{}: src/config/site.schema.json (left) and its reader (right) know other keys",
            told.message
        );
    }
    // And no reader has a table that the schema has nothing of.
    let mut places = 0;
    for file in fs::read_dir(root().join("src/config")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            places += fs::read_to_string(path).unwrap().matches(".unknown_key(").count();
        }
    }
    // `cache` is read by one reader, and stands in two places of the schema.
    assert_eq!(tables.len() - 1, places, "a table of site.toml is missing in the schema");
}

#[test]
fn what_readers_take_the_schema_takes_and_what_has_a_wrong_form_it_does_not() {
    let mut schemas = Schemas::new();
    let schema = compile(&mut schemas);
    let (mut fine, mut wrong) = (0, 0);
    let mut sites = Vec::new();
    for folder in ["templates", "tests", "bench"] {
        sites_in(&root().join(folder), &mut sites);
    }
    for (name, text) in sites {
        // The schema knows how a path begins, which the reader leaves to those who know patterns.
        let is_read_alike = !name.ends_with("/bad_patterns.txt");
        let Ok(site) = toml::from_str::<Value>(&text) else { continue };
        let outcome = schemas.validate(&site, schema);
        let problems = problems(&text);
        let is_wrong = |problem: &Problem| {
            let message = &problem.message;
            message.starts_with("unknown key") || message.contains("` must be ")
        };
        if problems.is_empty() && is_read_alike {
            fine += 1;
            assert!(outcome.is_ok(), "{name}: {}", outcome.unwrap_err());
        } else if problems.iter().any(is_wrong) {
            wrong += 1;
            assert!(outcome.is_err(), "{name}: {problems:?}");
        }
    }
    assert!(fine > 20 && wrong > 8, "{fine} that are fine, {wrong} that are not");
}

#[test]
fn defaults_and_examples_are_of_the_form_that_they_are_for() {
    let mut schemas = Schemas::new();
    let schema = compile(&mut schemas);
    let whole: Value = serde_json::from_str(SCHEMA).unwrap();
    let server = &whole["properties"]["server"]["properties"];
    let mut defaults = Map::new();
    for (key, value) in server.as_object().unwrap() {
        assert!(!description(value).is_empty(), "`{key}` of [server] has no description");
        if let Some(default) = value.get("default") {
            defaults.insert(key.clone(), default.clone());
        }
    }
    assert!(defaults.len() > 15);
    defaults.insert("trusted_proxies".into(), json!("private"));
    let site = json!({ "server": defaults });
    let outcome = schemas.validate(&site, schema);
    assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    // They are the readers' own: a site that says them all is read as one that says nothing.
    let said = toml::to_string(&site).unwrap();
    let (said, problems) = config::read(&SourceFile::new("site.toml", said));
    assert_eq!(problems, []);
    let usual = config::Server {
        listens_as_usual: false,
        trusted_proxies: said.server.trusted_proxies.clone(),
        ..config::Server::default()
    };
    assert_eq!(said.server, usual);
}

fn description(schema: &Value) -> &str {
    schema.get("description").and_then(Value::as_str).unwrap_or_default()
}

fn compile(schemas: &mut Schemas) -> SchemaIndex {
    let mut compiler = Compiler::new();
    let schema = serde_json::from_str(SCHEMA).unwrap();
    compiler.add_resource("site.schema.json", schema).unwrap();
    compiler.compile("site.schema.json", schemas).unwrap()
}

fn problems(text: &str) -> Vec<Problem> {
    config::read(&SourceFile::new("site.toml", text)).1
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A table with keys of its own.
struct Table {
    keys: BTreeSet<String>,
    /// A site with such a table, and an unknown key in it.
    example: Value,
}

/// Finds all tables of a schema. `place` puts a value where `schema` is for.
fn tables_of(
    whole: &Value,
    schema: &Value,
    place: &mut dyn FnMut(Value) -> Value,
    tables: &mut Vec<Table>,
) {
    if let Some(name) = schema["$ref"].as_str() {
        let target = whole.pointer(name.strip_prefix('#').unwrap()).unwrap();
        return tables_of(whole, target, place, tables);
    }
    for way in ["allOf", "oneOf"] {
        for schema in schema[way].as_array().into_iter().flatten() {
            tables_of(whole, schema, place, tables);
        }
    }
    if let Some(properties) = schema["properties"].as_object() {
        assert_eq!(schema["additionalProperties"], json!(false), "{}", description(schema));
        let keys = properties.keys().cloned().collect();
        tables.push(Table { keys, example: place(json!({ UNKNOWN: 1 })) });
        for (key, schema) in properties {
            tables_of(whole, schema, &mut |value| place(json!({ key: value })), tables);
        }
    } else if schema["additionalProperties"].is_object() {
        let any = &schema["additionalProperties"];
        tables_of(whole, any, &mut |value| place(json!({ "some": value })), tables);
    }
    if schema["items"].is_object() {
        tables_of(whole, &schema["items"], &mut |value| place(json!([value])), tables);
    }
}

/// The site files below a folder, those within texts of cases included.
fn sites_in(folder: &Path, sites: &mut Vec<(String, String)>) {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = path.display().to_string();
        if path.is_dir() {
            if !name.ends_with("/target") {
                sites_in(&path, sites);
            }
        } else if name.ends_with("/site.toml") {
            sites.push((name, fs::read_to_string(path).unwrap()));
        } else if name.contains("/tests/sites/") {
            let text = fs::read_to_string(path).unwrap();
            let files = text.split("=== ").skip(1).filter_map(|file| file.split_once('\n'));
            let site = files.into_iter().find(|(name, _)| name.ends_with(".toml"));
            sites.extend(site.map(|(_, text)| (name, text.to_owned())));
        }
    }
}
