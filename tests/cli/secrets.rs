//! Secrets for an API that the site file only names.

use std::fs;

use super::command::{self, Running};
use super::upstream::Upstream;
use super::visitor::{PATIENCE, Visitor};
use super::{ANY, RINGPRESS, fetching_site, path};

#[test]
fn headers_of_an_upstream_have_secrets_from_elsewhere_and_nobody_tells_them() {
    let upstream = Upstream::start(|call| {
        let has = |line: &str| call.head.contains(&format!("\r\n{line}\r\n"));
        let has_both = has("Authorization: Bearer s3cret-a") && has("X-Key: s3cret-b");
        call.json(if has_both { r#"{"name": "Ada"}"# } else { "[" })
    });
    let site = fetching_site(&upstream);
    let file = site.path().join("site.toml");
    let text = fs::read_to_string(&file).unwrap();
    let headers =
        "headers = { Authorization = 'env:RINGPRESS_TEST_TOKEN', X-Key = 'file:api.key' }";
    fs::write(&file, text.replace("[[page]]", &format!("{headers}\n[[page]]"))).unwrap();
    fs::write(site.path().join("api.key"), "s3cret-b\n").unwrap();
    let folder = path(&site);

    let missing = command::run(RINGPRESS, &["check", folder], &[]);
    assert_eq!(missing.code, Some(78));
    for part in ["site.toml:3", "the environment has no `RINGPRESS_TEST_TOKEN`", "help: "] {
        assert!(missing.stderr.contains(part), "{part} in {}", missing.stderr);
    }
    let environment =
        [("RINGPRESS_TEST_TOKEN", "Bearer s3cret-a"), ("RINGPRESS_LOG", "ringpress=trace")];
    let checked = command::run(RINGPRESS, &["check", folder], &environment);
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    let rendered =
        command::run(RINGPRESS, &["render", folder, "/users/1", "--explain"], &environment);
    assert_eq!(rendered.stdout.trim(), "<p>Ada</p>", "{}", rendered.stderr);
    let arguments = ["serve", folder, "--listen", ANY, "--workers", "2", "--development"];
    let server = Running::start(RINGPRESS, &arguments, &environment);
    for _ in 0..4 {
        assert_eq!(Visitor::to(server.address()).get("/users/1").page(), "<p>Ada</p>");
    }
    assert!(!server.log().contains("s3cret"), "{}", server.log());
    assert_eq!(server.terminate(PATIENCE), Some(0));
    for told in [checked.stdout, checked.stderr, rendered.stderr] {
        assert!(!told.contains("s3cret"), "{told}");
    }
}
