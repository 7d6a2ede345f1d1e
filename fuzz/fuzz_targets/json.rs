//! JSON, whatever comes: read where serde_json reads it, and every part of it seen by a template's
//! program as minijinja sees it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringpress::config::SourceFile;
use ringpress::press::{self, Builder, Context, Inputs, Names, Press, TemplateId, Uses, Value};
use std::sync::{Arc, LazyLock};

/// Walks through all there is.
const WALK: &str = "{% macro show(v) %}{% if v is mapping %}{% for k in v %}{{ k }}={{ show(v[k]) }}\
    ;{% endfor %}{% elif v is string or v is number or v is none or v is boolean %}{{ v }}{% else %}\
    {% for i in v %}{{ show(i) }},{% endfor %}{% endif %}{% endmacro %}\
    {{ show(a) }}{{ a.a }}{{ a.name.id }}{{ a[0] }}{{ a | length }}";

static PRESS: LazyLock<(Press, TemplateId)> = LazyLock::new(|| {
    let mut builder = Builder::default();
    let facts = builder.template(&SourceFile::new("walk.html", WALK));
    assert!(facts.is_ok(), "the template cannot be read");
    let press = builder.finish().unwrap_or_else(|problem| panic!("{problem:?}"));
    let template = press.template("walk.html").expect("the template");
    (press, template)
});

fuzz_target!(|bytes: &[u8]| {
    let ours = press::parse(bytes);
    let reference = serde_json::from_slice::<Value>(bytes);
    assert_eq!(ours.is_ok(), reference.is_ok(), "{ours:?} {reference:?}");
    let (Ok(ours), Ok(reference)) = (ours, reference) else { return };
    assert_eq!(format!("{:?}", ours.value()), format!("{reference:?}"));
    let (press, template) = &*PRESS;
    let names = Arc::new(Names::new(["a"]));
    let binding = press.bind(*template, &names);
    let context = || {
        let context = Context::new(names.clone(), Uses::default(), Inputs::default());
        if let Ok(data) = press::parse(bytes) {
            context.set(0, data);
        }
        context
    };
    let (mut made, mut wanted) = (Vec::new(), Vec::new());
    if press.by_program(*template, &binding, &context(), &mut made).is_ok() {
        let minijinja = press.by_minijinja(*template, &context(), &mut wanted);
        assert!(minijinja.is_ok(), "{:?}", minijinja.map_err(|error| error.chain()));
        assert_eq!(made, wanted);
    }
});
