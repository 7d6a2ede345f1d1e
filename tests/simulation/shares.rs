//! Who may have how much: clients by a rate, and pages by their priority.

use std::time::Duration;

use ringpress::driver::Driver;
use ringpress::driver::sim::Sim;
use ringpress::site::{RateLimit, Source};
use ringpress::worker::Bounds;

use super::client::{Answer, Client};
use super::server::{SERVER, Server, run};
use super::upstream::{self, Step, answer, at};

const SECOND: Duration = Duration::from_secs(1);

/// Half a request a second, and three at once; four clients are counted.
fn limit() -> RateLimit {
    RateLimit { interval: SECOND * 2, burst: 3, prefix_v4: 32, prefix_v6: 64, clients_max: 4 }
}

/// Asks as `client`, by way of a proxy that is trusted.
async fn ask(proxy: &mut Client, client: &str) -> Answer {
    let fields = format!("Host: a\r\nX-Forwarded-For: 203.0.113.9, {client}");
    proxy.ask(format!("GET / HTTP/1.1\r\n{fields}\r\n\r\n")).await
}

fn start() -> Server {
    let text = "[server]\ntrusted_proxies = ['127.0.0.1']\n\
                [[page]]\npath = '/'\ntemplate = 'page.html'\n";
    let files = Box::leak(Box::new([("site.toml", text), ("page.html", "page")]));
    let source = Source::Embedded { name: "page", files };
    let bounds = Bounds { rate_limit: Some(limit()), ..Bounds::default() };
    Server::start(&source, &[], bounds)
}

#[test]
fn a_client_who_asks_too_much_gets_429_and_keeps_the_connection() {
    run(|| async {
        let server = start();
        let mut proxy = Client::connect(SERVER).await.unwrap();
        for _ in 0..3 {
            assert_eq!(ask(&mut proxy, "192.0.2.1").await.status, 200);
        }
        let refused = ask(&mut proxy, "192.0.2.1").await;
        assert_eq!((refused.status, refused.retry_after_s()), (429, Some(2)));
        assert!(refused.keep_alive);
        // Others are others, whatever they say of themselves.
        assert_eq!(ask(&mut proxy, "192.0.2.2").await.status, 200);
        Sim::sleep(SECOND * 2).await;
        assert_eq!(ask(&mut proxy, "192.0.2.1").await.status, 200);
        assert_eq!(ask(&mut proxy, "192.0.2.1").await.status, 429);
        assert_eq!(server.metrics.requests_shed_rate.get(), 2);
        drop(proxy);
        Sim::sleep(SECOND).await;
        server.assert_balanced();
    });
}

#[test]
fn a_network_of_ipv6_is_one_client() {
    run(|| async {
        let _server = start();
        let mut proxy = Client::connect(SERVER).await.unwrap();
        for host in 1..4 {
            let answer = ask(&mut proxy, &format!("2001:db8:7:7::{host}")).await;
            assert_eq!(answer.status, 200);
        }
        assert_eq!(ask(&mut proxy, "2001:db8:7:7:ffff::1").await.status, 429);
        assert_eq!(ask(&mut proxy, "2001:db8:7:8::1").await.status, 200);
    });
}

#[test]
fn more_clients_than_are_counted_are_let_in() {
    run(|| async {
        let server = start();
        let mut proxy = Client::connect(SERVER).await.unwrap();
        for host in 1..5 {
            assert_eq!(ask(&mut proxy, &format!("192.0.2.{host}")).await.status, 200);
        }
        for _ in 0..10 {
            assert_eq!(ask(&mut proxy, "192.0.2.77").await.status, 200);
        }
        assert_eq!(server.metrics.requests_uncounted.get(), 10);
        // Those that are known are known on; and one who has not asked for long is forgotten.
        for status in [200, 200, 429] {
            assert_eq!(ask(&mut proxy, "192.0.2.1").await.status, status);
        }
        Sim::sleep(SECOND * 3).await;
        for status in [200, 200, 200, 429] {
            assert_eq!(ask(&mut proxy, "192.0.2.77").await.status, status);
        }
    });
}

#[test]
fn what_is_in_flight_is_shared_out_by_priority() {
    run(|| async {
        upstream::start(at(81), |asked| vec![Step::Wait(SECOND), answer(asked.token)]);
        let mut text = "[upstreams.api]\nurl = 'http://api.test'\n".to_owned();
        for priority in ["low", "normal", "high"] {
            text += &format!(
                "[[page]]\npath = '/{priority}/{{id}}'\ntemplate = 'page.html'\n\
                 priority = '{priority}'\n\
                 [page.fetch]\nitem = {{ from = 'api', path = '/{{{{ path.id }}}}' }}\n"
            );
        }
        let text: &'static str = Box::leak(text.into_boxed_str());
        let files = Box::leak(Box::new([("site.toml", text), ("page.html", "{{ item.token }}")]));
        let source = Source::Embedded { name: "pages", files };
        let bounds = Bounds { in_flight_max: 10, ..Bounds::default() };
        let server = Server::start(&source, &[&[at(81)]], bounds);
        let mut clients = Vec::new();
        for (priority, served) in [("low", 5), ("normal", 4), ("high", 1)] {
            for number in 0..7 {
                let mut client = Client::connect(SERVER).await.unwrap();
                client.send(super::client::get(&format!("/{priority}/{number}"))).await.unwrap();
                clients.push((client, number < served));
                Sim::sleep(SECOND / 100).await;
            }
        }
        for (mut client, served) in clients {
            let status = client.answer(false).await.unwrap().unwrap().status;
            assert_eq!(status, if served { 200 } else { 503 });
        }
        assert_eq!(server.metrics.requests_shed_in_flight.get(), 11);
        // With room enough nobody asks which is which.
        let mut client = Client::connect(SERVER).await.unwrap();
        assert_eq!(client.ask(super::client::get("/low/8")).await.status, 200);
    });
}
