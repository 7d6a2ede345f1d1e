//! What `check` says of a site that is none the worse for it.

use std::fs;

use super::{path, ringpress};

#[test]
fn check_advises_against_what_is_hardly_meant() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[upstreams.api]\nurl = 'http://127.0.0.1:1'\n\
        [[page]]\npath = '/search'\ntemplate = 'search.html'\n[page.fetch]\n\
        found = { from = 'api', path = '/s', query = { q = '{{ query.q }}' }, when = 'query.q' }\n\
        [[page]]\npath = '/u/:id/<int:post>'\ntemplate = 'fine.html'\n\
        [[page]]\npath = '/needs'\ntemplate = 'search.html'\n[page.fetch]\n\
        found = { from = 'api', path = '/s/{{ query.q }}' }\n\
        [[page]]\npath = '/elsewhere'\ntemplate = 'search.html'\nredirect = '/search'\n";
    fs::write(folder.path().join("site.toml"), text).unwrap();
    let base = "<title>{% block t %}{{ query.t }}{% endblock %}</title>{% block m %}{% endblock %}";
    let search = "{% extends 'base.html' %}{% block t %}t{% endblock %}\n\
        {% block m %}<input value=\"{{ query.q }}\">{% include 'part.html' %}{% endblock %}";
    let fine = "{% if query.a %}{{ query.a }}{% endif %}{{ query.b | default('') }}\
        {% if query.c is defined %}{% endif %}{{ query.c }}";
    for (name, text) in [
        ("base.html", base),
        ("search.html", search),
        ("fine.html", fine),
        ("part.html", "{{ query.p }}"),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let ended = ringpress(&["check", path(&folder)]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let warnings = ended.stdout.matches("warning: ").count();
    assert_eq!(warnings, 2, "{}", ended.stdout);
    for part in [
        "warning: `query.q` is printed, and who does not send it gets a 500\n",
        "\n --> search.html:2:31\n",
        "= help: write {{ query.q | default('') }}, or ask first: {% if query.q %}",
        "warning: `/u/:id/<int:post>` is this very path: nothing in it is a parameter\n",
        "= help: a parameter is in braces: \"/u/{id}/{post}\"",
    ] {
        assert!(ended.stdout.contains(part), "{part} in {}", ended.stdout);
    }
}

#[test]
fn the_example_of_sessions_in_the_readme_is_a_site() {
    let readme = include_str!("../../README.md");
    let start = readme.find("[server.session]\nkeys").unwrap();
    let text = readme[start..].split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let key = "c".repeat(88);
    for (name, text) in [("site.toml", text), ("session.key", &key), ("login.html", "<form>")] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let ended = ringpress(&["check", path(&folder)]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stdout.contains("warning: "), "{}", ended.stdout);
}
