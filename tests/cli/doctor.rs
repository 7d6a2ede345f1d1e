//! `ringpress doctor`, on this machine, whatever it is.

use super::{ringpress, site};

#[test]
fn doctor_says_what_is_there_and_fails_for_what_is_bad() {
    let fine = ringpress(&["doctor", "--driver", "epoll", "--workers", "1"]);
    assert!(fine.stdout.contains("ok   driver epoll = passes its self-test"), "{}", fine.stdout);
    let json = ringpress(&["doctor", "--json", "--workers", "99999,"]);
    assert_eq!(json.code, Some(1), "{}", json.stdout);
    let value: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(value["worst"], "bad");
    let site = site("[server]\nlisten = ['127.0.0.1:8099']\n", "a page");
    let path = site.path().to_str().unwrap();
    assert!(ringpress(&["doctor", path]).stdout.contains("127.0.0.1:8099 = a port for everybody"));
    assert_eq!(ringpress(&["doctor", "/no/such/site"]).code, Some(78));
    assert_eq!(ringpress(&["doctor", "--pid", "4000000000"]).code, Some(1));
}
