//! monoio's epoll driver: the same server without a ring, where io_uring is blocked, and for
//! comparison.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use monoio::net::TcpListener;

use super::Driver;
use super::monoio::{MonoioReader, MonoioWriter};
use super::tasks::{self, Task};

/// monoio on epoll.
pub struct Epoll;

impl Driver for Epoll {
    const NAME: &'static str = "epoll";
    type Listener = TcpListener;
    type Reader = MonoioReader;
    type Writer = MonoioWriter;

    fn run<F: Future>(main: impl FnOnce() -> F) -> io::Result<F::Output> {
        let mut runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new()
            .with_entries(crate::limits::RING_ENTRIES)
            .enable_timer()
            .build()?;
        Ok(runtime.block_on(async {
            let output = main().await;
            tasks::drop_all();
            output
        }))
    }

    fn spawn(task: impl Future<Output = ()> + 'static) {
        drop(monoio::spawn(Task::new(task)));
    }

    fn now() -> Instant {
        Instant::now()
    }

    async fn sleep(time: Duration) {
        monoio::time::sleep(time).await;
    }

    fn listen(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    }

    async fn accept(
        listener: &TcpListener,
    ) -> io::Result<(MonoioReader, MonoioWriter, SocketAddr)> {
        super::monoio::accept(listener).await
    }

    fn connect(
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<(MonoioReader, MonoioWriter)>> + 'static {
        super::monoio::connect(address)
    }
}
