//! Certificates that change while they are served.

use std::fs;

use ringpress::driver::kind::Kind;
use rustls::pki_types::CertificateDer;

use super::stage::{Script, Stage, wait};
use super::trust::{Trust, session, write};
use super::upstream::Upstream;
use super::visitor::Visitor;

on_every_driver!(new_certificates_without_a_connection_lost, half_a_change_changes_nothing);

fn start(kind: Kind, trust: &Trust) -> Stage {
    let script = Script::on(kind).server(trust.server("", &["first"])).plain_page();
    script.start(Upstream::json("{}"))
}

/// A new visitor who has been served, and the certificate it was shown.
fn visit(stage: &Stage, trust: &Trust) -> (Visitor, CertificateDer<'static>) {
    let session = session(&trust.client(), "localhost");
    let mut visitor = Visitor::to(stage.secure_address()).speaking(session);
    assert_eq!(visitor.get("/plain").page(), "<p>plain</p>");
    let shown = visitor.session().peer_certificates().expect("certificates")[0].clone();
    (visitor, shown.into_owned())
}

fn new_certificates_without_a_connection_lost(kind: Kind) {
    let mut trust = Trust::of(&["localhost"]);
    let stage = start(kind, &trust);
    let (mut old, before) = visit(&stage, &trust);
    let renewed = trust.certify("first", &["localhost"]);
    assert_ne!(renewed, before);
    wait("the new certificate", || visit(&stage, &trust).1 == renewed);
    assert_eq!(old.get("/plain").page(), "<p>plain</p>");
    drop(old);
    stage.finish();
}

fn half_a_change_changes_nothing(kind: Kind) {
    let mut trust = Trust::of(&["localhost"]);
    let stage = start(kind, &trust);
    let (_, before) = visit(&stage, &trust);
    let (certificate, key) = (trust.path("first.pem"), trust.path("first.key"));
    let old_key = fs::read_to_string(&key).expect("a key");
    let renewed = trust.certify("first", &["localhost"]);
    let new_key = fs::read_to_string(&key).expect("a key");
    // It may have seen the whole: then it is with the key that it must not lose.
    write(&key, &old_key);
    let whole = fs::read_to_string(&certificate).expect("a certificate");
    for torn in ["", "-----BEGIN CERTIFICATE-----\nAAAA", &whole[..whole.len() / 2]] {
        write(&certificate, torn);
        let looks = stage.looks();
        wait("the files to be looked at", || stage.looks() > looks + 1);
        let (_, shown) = visit(&stage, &trust);
        assert!(shown == before || shown == renewed, "neither the old nor the new one");
    }
    trust.lose("first.pem");
    let (_, shown) = visit(&stage, &trust);
    assert!(shown == before || shown == renewed);
    write(&certificate, &whole);
    write(&key, &new_key);
    wait("the new certificate", || visit(&stage, &trust).1 == renewed);
    stage.finish();
}
