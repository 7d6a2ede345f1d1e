//! Pages are packed where there is CPU time for it, and not where that is short.

use ringpress::driver::stints;
use ringpress::worker::Bounds;

use super::client::{Answer, Client};
use super::server::{SERVER, Server, run, site_of};
use super::upstream::at;

/// What a HEAD of a path is answered, of one who takes zstd: the same as a GET, without the bytes.
async fn ask(path: &str) -> Answer {
    let mut client = Client::connect(SERVER).await.unwrap();
    let head = "Host: site.test\r\nAccept-Encoding: zstd\r\n";
    client.send(format!("HEAD {path} HTTP/1.1\r\n{head}\r\n")).await.unwrap();
    client.answer(true).await.unwrap().expect("an answer")
}

async fn is_packed(path: &str) -> bool {
    let answer = ask(path).await;
    assert!(answer.status == 200 && answer.head.contains("\r\nVary: Accept-Encoding\r\n"));
    answer.head.contains("\r\nContent-Encoding: zstd\r\n")
}

#[test]
fn a_crowded_loop_sends_what_it_has_packed_before_and_packs_nothing() {
    run(|| async {
        let source = site_of(
            "[server]\nmemo_max = '1MiB'\n[[page]]\npath = '/item/{id}'\n\
             template = 'page.html'\n",
            "{% for n in range(500) %}{{ n }} {% endfor %}{{ path.id }}",
        );
        // The worker itself would see at once that there is no load.
        let bounds = Bounds { queue_target: None, ..Bounds::default() };
        let server = Server::start(&source, &[&[at(81)]], bounds);
        for _ in 0..2 {
            assert!(is_packed("/item/kept").await);
        }
        stints::set_crowded(true);
        assert!(is_packed("/item/kept").await, "that costs nothing");
        for _ in 0..3 {
            assert!(!is_packed("/item/new").await);
        }
        stints::set_crowded(false);
        assert!(is_packed("/item/new").await);
        assert_eq!(server.metrics.packed_zstd.get(), 4);
    });
}
