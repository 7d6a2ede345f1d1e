//! axum, hyper's client and askama, on tokio's current-thread runtime: templates compiled to Rust
//! over typed structs, that borrow from the API's answer what JSON lets them.

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::body::{Body, Bytes};
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
use serde::Deserialize;
use tokio::net::TcpSocket;
use tokio::time::timeout;

const CRATES: &[&str] = &["axum", "hyper", "hyper-util", "tokio", "askama", "serde_json"];
const API_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Deserialize, Template)]
#[template(path = "user.html")]
struct UserPage<'a> {
    #[serde(borrow)]
    title: Cow<'a, str>,
    #[serde(borrow)]
    user: User<'a>,
    #[serde(borrow)]
    items: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct User<'a> {
    id: u64,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    city: Cow<'a, str>,
    #[serde(borrow)]
    bio: Cow<'a, str>,
}

#[derive(Template)]
#[template(path = "list.html")]
struct ListPage<'a> {
    list: List<'a>,
    items: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct List<'a> {
    id: u64,
    #[serde(borrow)]
    title: Cow<'a, str>,
    items: Vec<u64>,
}

#[derive(Deserialize)]
struct Item<'a> {
    id: u64,
    #[serde(borrow)]
    title: Cow<'a, str>,
    #[serde(borrow)]
    note: Cow<'a, str>,
    score: u64,
    starred: bool,
}

struct App {
    client: Client<HttpConnector, Body>,
    api: Authority,
}

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::read(CRATES);
    let app = App { client: client(), api: arguments.api.to_string().parse()? };
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
    let body = app.fetch(format!("/users/{id}")).await?;
    let page: UserPage<'_> = serde_json::from_slice(&body)?;
    Ok(Html(page.render()?))
}

async fn list(State(app): State<Arc<App>>, Path(id): Path<u64>) -> Result<Html<String>, Gateway> {
    let body = app.fetch(format!("/lists/{id}")).await?;
    let list: List<'_> = serde_json::from_slice(&body)?;
    let bodies = list.items.iter().map(|number| app.fetch(format!("/items/{number}")));
    let bodies = try_join_all(bodies).await?;
    let items = bodies.iter().map(|body| serde_json::from_slice(body)).collect::<Result<_, _>>()?;
    Ok(Html(ListPage { list, items }.render()?))
}

impl App {
    async fn fetch(&self, path: String) -> Result<Bytes, Failure> {
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
        timeout(API_TIMEOUT, exchange).await?
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
