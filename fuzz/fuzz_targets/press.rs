//! A template and its context, whatever they are: what a program makes is what minijinja makes, and
//! it gives up where minijinja fails.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringpress::config::SourceFile;
use ringpress::press::{self, Builder, Context, Inputs, Names, Uses};
use std::sync::Arc;

fuzz_target!(|input: (&str, &str, &str)| {
    let (page, part, json) = input;
    if page.len() + part.len() > TEXT_BYTES_MAX {
        return;
    }
    let mut builder = Builder::default();
    for (name, text) in [("page.html", page), ("part.html", part)] {
        if builder.template(&SourceFile::new(name, text)).is_err() {
            return;
        }
    }
    let Ok(press) = builder.finish() else { return };
    let Some(id) = press.template("page.html") else { return };
    let names = Arc::new(Names::new(["a", "b"]));
    let binding = press.bind(id, &names);
    let context = || {
        let context = Context::new(names.clone(), Uses::default(), Inputs::default());
        if let Ok(data) = press::parse(json.as_bytes()) {
            context.set(0, data);
        }
        context
    };
    let (mut made, mut wanted) = (Vec::new(), Vec::new());
    if press.by_program(id, &binding, &context(), &mut made).is_ok() {
        let reference = press.by_minijinja(id, &context(), &mut wanted);
        assert!(reference.is_ok(), "{:?}", reference.map_err(|error| error.chain()));
        assert_eq!(made, wanted);
    }
});

const TEXT_BYTES_MAX: usize = 4096;
