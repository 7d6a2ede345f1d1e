//! A certificate that an ACME directory issues while the server runs, here put in its place by
//! hand: what is served before it is there, and after.

use std::fs;

use ringpress::driver::kind::Kind;

use super::stage::{Script, wait};
use super::trust::{Trust, session, write};
use super::upstream::Upstream;
use super::visitor::Visitor;

on_every_driver!(one_that_comes_later_is_served);

fn one_that_comes_later_is_served(kind: Kind) {
    let trust = Trust::of(&["localhost"]);
    let storage = trust.path("issued");
    let lines = format!(
        "listen = ['127.0.0.1:0']\nredirect_to_https = 8443\n[server.acme]\n\
         names = ['localhost']\nterms_agreed = true\nstorage = '{}'",
        storage.display()
    );
    let script = Script::on(kind).server(trust.server(&lines, &[])).plain_page();
    let stage = script.start(Upstream::json("{}"));
    let plain = || stage.visitor().ask("GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let secure = || {
        let session = session(&trust.client(), "localhost");
        Visitor::to(stage.secure_address()).speaking(session).try_get("/plain")
    };
    // There is nowhere to send anybody yet, and nothing to agree on TLS with.
    assert_eq!(plain().page(), "<p>plain</p>");
    assert!(secure().is_err());
    let read = |name: &str| fs::read_to_string(trust.path(name)).expect("a file");
    fs::create_dir(&storage).expect("a folder");
    write(&storage.join("localhost.pem"), &(read("first.key") + &read("first.pem")));
    wait("the certificate", || secure().is_ok_and(|reply| reply.page() == "<p>plain</p>"));
    let reply = plain();
    assert_eq!(
        (reply.status, reply.field("Location")),
        (308, Some("https://localhost:8443/plain"))
    );
    stage.finish();
}
