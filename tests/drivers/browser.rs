//! A client of HTTP/2, as browsers are: many requests on one connection, without TLS.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use http::{HeaderMap, Request};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::visitor::PATIENCE;

/// A connection to a server.
pub(crate) struct Browser {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Runs what a client does, but not for ever.
pub(crate) fn browse<T>(what: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let in_time = async { tokio::time::timeout(PATIENCE, what).await };
    runtime.expect("a loop").block_on(in_time).expect("the end of it")
}

impl Browser {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        Self::set_up(address, &Builder::new()).await
    }

    pub(crate) async fn set_up(address: SocketAddr, builder: &Builder) -> Self {
        let stream = TcpStream::connect(address).await.expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        let (requests, connection) = builder.handshake(stream).await.expect("a handshake");
        Self { requests, connection: tokio::spawn(connection) }
    }

    /// Sends a request without a body.
    pub(crate) async fn ask(&mut self, request: Request<()>) -> ResponseFuture {
        self.begin(request, true).await.0
    }

    /// Sends the head of a request.
    pub(crate) async fn begin(
        &mut self,
        request: Request<()>,
        is_whole: bool,
    ) -> (ResponseFuture, h2::SendStream<Bytes>) {
        self.requests = self.requests.clone().ready().await.expect("room for a request");
        self.requests.send_request(request, is_whole).expect("a request")
    }

    pub(crate) async fn get(&mut self, target: &str) -> Page {
        let response = self.ask(get(target)).await;
        page(response).await.expect("a whole response")
    }

    /// Whether the server takes more requests.
    pub(crate) async fn is_welcome(&self) -> bool {
        self.requests.clone().ready().await.is_ok()
    }

    /// Says that there will be no more requests, and waits until the connection has ended.
    pub(crate) async fn close(self) -> Result<(), h2::Error> {
        drop(self.requests);
        self.connection.await.expect("no panic")
    }

    /// Waits until the server has ended the connection.
    pub(crate) async fn ended(self) -> Result<(), h2::Error> {
        self.connection.await.expect("no panic")
    }
}

pub(crate) fn get(target: &str) -> Request<()> {
    of("GET", target)
}

pub(crate) fn of(method: &str, target: &str) -> Request<()> {
    let request = Request::builder().method(method).uri(format!("http://test{target}"));
    request.body(()).expect("a request")
}

/// Reads a response to its end.
pub(crate) async fn page(response: ResponseFuture) -> Result<Page, h2::Error> {
    let (head, mut incoming) = response.await?.into_parts();
    let mut body = Vec::new();
    while let Some(bytes) = incoming.data().await {
        let bytes = bytes?;
        body.extend_from_slice(&bytes);
        incoming.flow_control().release_capacity(bytes.len())?;
    }
    Ok(Page { status: head.status.as_u16(), fields: head.headers, body })
}

impl Page {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().expect("ASCII"));
        assert!(values.next().is_none(), "{name} twice: {self:?}");
        value
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a page in UTF-8")
    }
}
