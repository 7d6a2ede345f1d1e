//! ntex, its client and minijinja, with one worker: the server of `ntex-tokio` and `ntex-uring`,
//! which add the runtime.

use std::error::Error;
use std::io;
use std::rc::Rc;

use common::Arguments;
use futures_util::future::try_join_all;
use jinja_pages::{Pages, item_numbers};
use minijinja::Value;
use ntex::SharedCfg;
use ntex::client::{Client, ClientConfig};
use ntex::http::{HttpServiceConfig, StatusCode};
use ntex::time::{Millis, Seconds};
use ntex::web::types::Path;
use ntex::web::{self, App, AppState, HttpResponse, HttpServer};

const API_TIMEOUT: Millis = Millis(10_000);
const IDLE_TIMEOUT: Seconds = Seconds(75);

struct Site {
    client: Client,
    api: String,
    pages: Pages,
}

type State = AppState<Rc<Site>>;
type Failure = Box<dyn Error>;

/// Serves the pages until a signal ends it.
pub async fn serve(arguments: Arguments) -> io::Result<()> {
    // Called once in each worker: client and templates belong to it.
    let site = async move || {
        let pages = Pages::new().map_err(io::Error::other)?;
        let api = format!("http://{}", arguments.api);
        Ok(AppState::new(Rc::new(Site { client: client(), api, pages })))
    };
    let http = HttpServiceConfig::new()
        .set_keepalive(IDLE_TIMEOUT)
        // Else a connection is closed that sends nothing in its first second.
        .set_client_timeout(IDLE_TIMEOUT);
    let server = HttpServer::with_config(site, async |_| {
        App::<State>::new()
            .route("/users/{id}", web::get().to_with_state(user))
            .route("/lists/{id}", web::get().to_with_state(list))
    });
    let server = server
        .workers(1)
        .backlog(4096)
        .graceful_shutdown_timeout(Seconds(1))
        .bind(arguments.listen, SharedCfg::new("site").add(http))?
        .run();
    println!("listening on http://{}", arguments.listen);
    server.await
}

fn client() -> Client {
    let config = ClientConfig::new()
        // The default is 8 connections, and closing each after 75 s.
        .set_h1_connection_limit(0)
        .set_h1_lifetime(Seconds::ZERO)
        .set_h1_keepalive(IDLE_TIMEOUT)
        .set_response_timeout(API_TIMEOUT);
    Client::with_config(SharedCfg::new("api").add(config))
}

async fn user(site: &State, _: (), id: Path<u64>) -> HttpResponse {
    answer(site.user(*id).await)
}

async fn list(site: &State, _: (), id: Path<u64>) -> HttpResponse {
    answer(site.list(*id).await)
}

/// Whatever fails here fails because of the API.
fn answer(page: Result<String, Failure>) -> HttpResponse {
    match page {
        Ok(page) => HttpResponse::Ok().content_type("text/html; charset=utf-8").body(page),
        Err(error) => HttpResponse::BadGateway().body(error.to_string()),
    }
}

impl Site {
    async fn user(&self, id: u64) -> Result<String, Failure> {
        let page = self.fetch(format!("/users/{id}")).await?;
        Ok(self.pages.user(page)?)
    }

    async fn list(&self, id: u64) -> Result<String, Failure> {
        let list = self.fetch(format!("/lists/{id}")).await?;
        let numbers = item_numbers(&list)?;
        let items = numbers.iter().map(|number| self.fetch(format!("/items/{number}")));
        let items = try_join_all(items).await?;
        Ok(self.pages.list(list, items)?)
    }

    /// JSON of the API, read straight into the values that the templates take.
    async fn fetch(&self, path: String) -> Result<Value, Failure> {
        let response = self.client.get(format!("{}{path}", self.api)).send().await?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(format!("the API answered {status}").into());
        }
        Ok(response.json().await?)
    }
}
