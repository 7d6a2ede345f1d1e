//! actix-web, awc and minijinja, with one worker.

use std::time::Duration;

use actix_service::ServiceExt;
use actix_tls::connect::{Connection as TcpConnection, Connector as TcpConnector};
use actix_web::body;
use actix_web::error::ErrorBadGateway;
use actix_web::http::StatusCode;
use actix_web::rt::net::TcpStream;
use actix_web::web::{Data, Html, Path};
use actix_web::{App, Error, HttpServer, get};
use awc::{Client, Connector};
use common::Arguments;
use futures_util::future::try_join_all;
use jinja_pages::{Pages, item_numbers};
use minijinja::Value;

const CRATES: &[&str] = &["actix-web", "actix-http", "awc", "tokio", "minijinja", "serde_json"];
const API_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

struct Site {
    client: Client,
    api: String,
    pages: Pages,
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::read(CRATES);
    // Found here, a mistake in a template ends the program with its message.
    Pages::new()?;
    let server = HttpServer::new(move || {
        let site = Site {
            client: client(),
            api: format!("http://{}", arguments.api),
            pages: Pages::new().unwrap_or_else(|error| unreachable!("it was fine: {error}")),
        };
        App::new().app_data(Data::new(site)).service(user).service(list)
    });
    let server = server
        .workers(1)
        .backlog(4096)
        .tcp_nodelay(true)
        .keep_alive(IDLE_TIMEOUT)
        // Else a connection is closed that sends nothing in its first 5 s.
        .client_request_timeout(IDLE_TIMEOUT)
        .shutdown_timeout(1)
        .bind(arguments.listen)?
        .run();
    println!("listening on http://{}", arguments.listen);
    Ok(server.await?)
}

/// A client for each worker, as awc's documentation has it: its pool is not shared.
fn client() -> Client {
    // awc leaves TCP_NODELAY off.
    let tcp = TcpConnector::default().service().map(|connection: TcpConnection<_, TcpStream>| {
        if let Err(error) = connection.io_ref().set_nodelay(true) {
            eprintln!("TCP_NODELAY: {error}");
        }
        connection
    });
    let connector = Connector::new()
        .connector(tcp)
        // The default is 100 connections, and closing each after 75 s.
        .limit(0)
        .conn_lifetime(Duration::MAX)
        .conn_keep_alive(IDLE_TIMEOUT);
    Client::builder().connector(connector).timeout(API_TIMEOUT).finish()
}

#[get("/users/{id}")]
async fn user(site: Data<Site>, id: Path<u64>) -> Result<Html, Error> {
    let page = site.fetch(format!("/users/{id}")).await?;
    Ok(Html::new(site.pages.user(page).map_err(ErrorBadGateway)?))
}

#[get("/lists/{id}")]
async fn list(site: Data<Site>, id: Path<u64>) -> Result<Html, Error> {
    let list = site.fetch(format!("/lists/{id}")).await?;
    let numbers = item_numbers(&list).map_err(ErrorBadGateway)?;
    let items = numbers.iter().map(|number| site.fetch(format!("/items/{number}")));
    let items = try_join_all(items).await?;
    Ok(Html::new(site.pages.list(list, items).map_err(ErrorBadGateway)?))
}

impl Site {
    /// JSON of the API, read straight into the values that the templates take.
    async fn fetch(&self, path: String) -> Result<Value, Error> {
        let request = self.client.get(format!("{}{path}", self.api));
        // `send` adds `content-length: 0`, and there are servers that close after it: our mock API
        // did when this was written, which made a connection for each request.
        let sent = request.send_body(body::None::new()).await;
        let mut response = sent.map_err(|error| ErrorBadGateway(error.to_string()))?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(ErrorBadGateway(format!("the API answered {status}")));
        }
        response.json().await.map_err(ErrorBadGateway)
    }
}
