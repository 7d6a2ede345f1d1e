//! Pages that are no HTML: what their extension says of them, and how what they print is escaped.

use ringpress::driver::kind::Kind;

use super::stage::Script;
use super::upstream::Upstream;

on_every_driver!(each_kind_is_escaped_as_it_needs, a_part_is_escaped_where_it_is_no_markup);

/// What an API may say, as JSON.
const HOSTILE: &str = r#"{"t": "a\"b'</script>&\u2028\u0000\u000b\uffff<", "n": 1.5, "no": null}"#;

fn page(path: &str, template: &str) -> String {
    format!(
        "[[page]]\npath = '{path}'\ntemplate = '{template}'\n[page.fetch]\n\
         x = {{ from = 'api', path = '/x' }}\n"
    )
}

fn each_kind_is_escaped_as_it_needs(kind: Kind) {
    let xml = "<?xml version=\"1.0\" encoding=\"utf-8\"?><a b=\"{{ x.t }}\">{{ x.t }}</a>";
    let kinds = [
        ("/feed.atom", "feed.atom", "application/atom+xml"),
        ("/feed.rss", "feed.rss", "application/rss+xml"),
        ("/map.xml", "map.xml", "application/xml"),
        ("/i.svg", "i.svg", "image/svg+xml"),
    ];
    let mut script = Script::on(kind)
        .file(
            "data.json",
            "{\"t\": {{ x.t }}, \"n\": {{ x.n }}, \"no\": {{ x.no }}, \"x\": {{ x }}}",
        )
        .file("app.webmanifest", "{\"name\": {{ x.t }}}")
        .file("plain.txt", "{{ x.t }}");
    let mut policy = page("/data", "data.json") + &page("/app", "app.webmanifest");
    policy += &page("/plain", "plain.txt");
    for (path, template, _) in kinds {
        script = script.file(template, xml);
        policy += &page(path, template);
    }
    let stage = script.policy(policy).start(Upstream::json(HOSTILE));
    let escaped = "a&quot;b&#x27;&lt;&#x2f;script&gt;&amp;\u{2028}\u{fffd}\u{fffd}\u{fffd}&lt;";
    let expected =
        format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><a b=\"{escaped}\">{escaped}</a>");
    for (path, _, media_type) in kinds {
        let reply = stage.get(path);
        assert_eq!(reply.field("Content-Type"), Some(media_type));
        assert_eq!(reply.text(), expected, "{path}");
    }
    let text = "a\"b'</script>&\u{2028}\0\u{b}\u{ffff}<";
    let reply = stage.get("/data");
    assert_eq!(reply.field("Content-Type"), Some("application/json"));
    let json: serde_json::Value = serde_json::from_str(reply.text()).unwrap();
    assert_eq!((json["t"].as_str(), json["n"].as_f64()), (Some(text), Some(1.5)));
    assert!(json["no"].is_null() && json["x"]["t"] == text);
    let reply = stage.get("/app");
    assert_eq!(reply.field("Content-Type"), Some("application/manifest+json"));
    let json: serde_json::Value = serde_json::from_str(reply.text()).unwrap();
    assert_eq!(json["name"], text);
    let reply = stage.get("/plain");
    assert_eq!(reply.field("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(reply.text(), text);
    stage.finish();
}

fn a_part_is_escaped_where_it_is_no_markup(kind: Kind) {
    let policy = page("/feed", "feed.atom") + &page("/data", "data.json") + &page("/t", "t.txt");
    let stage = Script::on(kind)
        .file("feed.atom", "<content type=\"html\">{{ fragment('/html') }}</content>")
        .file("data.json", "{\"html\": {{ fragment('/html') }}, \"d\": {{ fragment('/data2') }}}")
        .file("data2.json", "[{{ x.n }}]")
        .file("t.txt", "a < b")
        .page("/html", "", "<b>\"&amp;</b>")
        .page("/text", "", "{{ fragment('/t') }}")
        .policy(policy + &page("/data2", "data2.json"))
        .start(Upstream::json(HOSTILE));
    let expected = "<content type=\"html\">&lt;b&gt;&quot;&amp;amp;&lt;&#x2f;b&gt;</content>";
    assert_eq!(stage.get("/feed").text(), expected);
    let json: serde_json::Value = serde_json::from_str(stage.get("/data").text()).unwrap();
    assert_eq!((json["html"].as_str(), json["d"][0].as_f64()), (Some("<b>\"&amp;</b>"), Some(1.5)));
    assert_eq!(stage.get("/text").page(), "a &lt; b");
    stage.finish();
}
