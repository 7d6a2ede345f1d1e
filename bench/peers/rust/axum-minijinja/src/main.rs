//! axum, hyper's client and minijinja, on tokio's current-thread runtime.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::uri::{Authority, Scheme};
use axum::http::{StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt;
use common::Arguments;
use futures_util::future::try_join_all;
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jinja_pages::{Pages, item_numbers};
use minijinja::Value;
use tokio::net::TcpSocket;
use tokio::time::timeout;

const CRATES: &[&str] = &["axum", "hyper", "hyper-util", "tokio", "minijinja", "serde_json"];
const API_TIMEOUT: Duration = Duration::from_secs(10);

struct App {
    client: Client<HttpConnector, Body>,
    api: Authority,
    pages: Pages,
}

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::read(CRATES);
    let app =
        App { client: client(), api: arguments.api.to_string().parse()?, pages: Pages::new()? };
    let router = Router::new()
        .route("/users/{id}", get(user))
        .route("/lists/{id}", get(list))
        .with_state(Arc::new(app));
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(arguments.listen)?;
    // `TcpListener::bind` would allow 1024 waiting connections.
    let listener = socket.listen(4096)?.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            eprintln!("TCP_NODELAY: {error}");
        }
    });
    println!("listening on http://{}", arguments.listen);
    Ok(axum::serve(listener, router).await?)
}

/// Its pool has no limit by default, and keeps idle connections for 90 s.
fn client() -> Client<HttpConnector, Body> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector)
}

async fn user(State(app): State<Arc<App>>, Path(id): Path<u64>) -> Result<Html<String>, Gateway> {
    let page = app.fetch(format!("/users/{id}")).await?;
    Ok(Html(app.pages.user(page)?))
}

async fn list(State(app): State<Arc<App>>, Path(id): Path<u64>) -> Result<Html<String>, Gateway> {
    let list = app.fetch(format!("/lists/{id}")).await?;
    let numbers = item_numbers(&list)?;
    let items = numbers.iter().map(|number| app.fetch(format!("/items/{number}")));
    let items = try_join_all(items).await?;
    Ok(Html(app.pages.list(list, items)?))
}

impl App {
    /// JSON of the API, read straight into the values that the templates take.
    async fn fetch(&self, path: String) -> Result<Value, Failure> {
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.api.clone())
            .path_and_query(path)
            .build()?;
        let exchange = async {
            let response = self.client.get(uri).await?;
            let status = response.status();
            if status != StatusCode::OK {
                return Err(format!("the API answered {status}").into());
            }
            Ok::<_, Failure>(response.into_body().collect().await?.to_bytes())
        };
        let body = timeout(API_TIMEOUT, exchange).await??;
        Ok(serde_json::from_slice(&body)?)
    }
}

/// Whatever fails here fails because of the API.
struct Gateway(Failure);

impl<E: Into<Failure>> From<E> for Gateway {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Gateway {
    fn into_response(self) -> Response {
        (StatusCode::BAD_GATEWAY, self.0.to_string()).into_response()
    }
}
