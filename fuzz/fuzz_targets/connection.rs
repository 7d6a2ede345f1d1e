//! A connection, whatever is sent on it: the answers are the same whether the bytes come at once
//! or in pieces, and the server ends the connection when the visitor does.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringpress::driver::sim::{Faults, Sim};
use ringpress::driver::timers::Timers;
use ringpress::driver::{Driver, Reader, Writer};
use ringpress::http::Method;
use ringpress::metrics::WorkerMetrics;
use ringpress::worker::{Bounds, Orders, Request, Response, Service, Worker};
use std::net::SocketAddr;
use std::sync::Arc;

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    let whole = answers(bytes, bytes.len().max(1));
    assert_eq!(answers(bytes, 1), whole);
    assert_eq!(answers(bytes, usize::from(cut).max(1)), whole);
});

/// Says what it was asked, so that a request taken for another shows.
struct Mirror;

impl Service for Mirror {
    fn wants_body(&self, request: &Request<'_>) -> bool {
        matches!(request.head.method, Method::Get | Method::Post)
    }

    async fn respond(&self, request: Request<'_>, response: &mut Response) {
        let body = response.body();
        body.extend_from_slice(request.span(request.head.target));
        body.push(b'\n');
        body.extend_from_slice(request.body);
    }

    fn refuse(&self, status: u16, reason: &str, response: &mut Response) {
        response.body().extend_from_slice(reason.as_bytes());
        response.status = status;
    }
}

/// All that a server says to bytes that come in pieces of a size, without the dates.
fn answers(bytes: &[u8], piece: usize) -> Vec<u8> {
    let bytes = bytes.to_vec();
    let run = Sim::run_seeded(1, Faults::none(), || async move {
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let timers = Timers::<Sim>::start();
        let metrics = Arc::<WorkerMetrics>::default();
        let worker = Worker::new(Mirror, Bounds::default(), metrics, timers);
        let listener = Sim::bind(address).expect("a free port");
        let serving = std::rc::Rc::clone(&worker);
        Sim::spawn(async move {
            serving.serve(vec![(listener, None)], &Orders::default(), || {}).await;
        });
        let (mut reader, mut writer) = Sim::connect(address).await.expect("a connection");
        Sim::spawn(async move {
            for piece in bytes.chunks(piece) {
                if writer.write_all(piece.to_vec(), 0).await.0.is_err() {
                    return;
                }
            }
            let _ = writer.shutdown();
            // A writer that is dropped would end the connection for the reader too.
            std::future::pending::<()>().await;
        });
        let mut said = Vec::new();
        loop {
            let read = reader.read(said, 4096).await;
            (reader, said) = (read.reader, read.buffer);
            match read.result {
                Ok(1..) => {}
                Ok(0) => return said,
                Err(error) => panic!("the visitor cannot read its answers: {error}"),
            }
        }
    });
    without_dates(&run.expect("a run that ends"))
}

fn without_dates(said: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in said.split_inclusive(|&byte| byte == b'\n') {
        if !line.starts_with(b"Date: ") {
            out.extend_from_slice(line);
        }
    }
    out
}
