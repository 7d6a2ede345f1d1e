//! `ringpress reload` and `ringpress upgrade`: what a server that runs is asked by its admin
//! listener, and how it went.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::http::{self, Limits, response};
use crate::limits::{ADMIN_ANSWER_BYTES_MAX, ADMIN_ANSWER_TIMEOUT};
use crate::site::{AdminAddress, Overrides, Site, Source, Token};

use super::options::{self, AdminChoice};
use super::{Exit, fail, say};

/// `ringpress reload`, `ringpress upgrade`
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The site that is served: it says where its admin listener is
    #[arg(default_value = ".", env = "RINGPRESS_SITE")]
    site: PathBuf,
    /// The server's admin listener, where the site need not be asked: HOST:PORT or unix:PATH
    #[arg(long, value_name = "ADDR", env = "RINGPRESS_ADMIN", value_parser = options::admin)]
    admin: Option<AdminChoice>,
    /// A file with the token of the admin listener
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Asks the server for `path`, and says what it answers.
pub(super) fn run(arguments: &Arguments, path: &str) -> Exit {
    let (address, token) = match whom(arguments) {
        Ok(whom) => whom,
        Err(exit) => return exit,
    };
    match ask(&address, token.as_ref(), path) {
        Ok((200, words)) => {
            say(words.trim_end());
            Exit::Fine
        }
        Ok((422, words)) => {
            eprintln!("{}", words.trim_end());
            Exit::Configuration
        }
        Ok((401, _)) => fail(format!(
            "{address} asks for a token: write it in [admin] of the site, or name its file with \
             --token-file{}",
            if_changed(arguments)
        )),
        Ok((status, words)) => fail(format!("{address} answers {status}: {}", words.trim_end())),
        Err(error) => fail(format!(
            "cannot ask {address}: {error}; is the server running, with [admin]?{}",
            if_changed(arguments)
        )),
    }
}

/// What else may be the matter where the site was asked: it is read as it is now, and the server
/// has the admin listener that it was started with.
fn if_changed(arguments: &Arguments) -> &'static str {
    match &arguments.admin {
        Some(AdminChoice(Some(_))) => "",
        _ => {
            "\nIf [admin] of the site has changed: until an upgrade or a restart the server is \
             asked at the old address and with the old token: --admin OLD --token-file OLD"
        }
    }
}

/// Where the server is asked, and with which token.
fn whom(arguments: &Arguments) -> Result<(AdminAddress, Option<Token>), Exit> {
    if let Some(AdminChoice(Some(address))) = &arguments.admin {
        let token = match &arguments.token_file {
            Some(path) => match std::fs::read_to_string(path) {
                Ok(text) => Some(Token::new(text.trim())),
                Err(error) => return Err(fail(format!("{}: {error}", path.display()))),
            },
            None => None,
        };
        return Ok((address.clone(), token));
    }
    let source = Source::Folder(arguments.site.clone());
    let overrides =
        Overrides { admin_token_file: arguments.token_file.clone(), ..Overrides::default() };
    let plan = Site::admin_of(&source, &overrides).map_err(|report| {
        eprintln!("{report}");
        Exit::Configuration
    })?;
    match plan {
        Some(plan) => Ok((plan.listen, plan.token)),
        None => Err(fail(
            "the site has no admin listener: write [admin] listen = \"127.0.0.1:9180\" in its \
             site.toml, or send the server a signal (HUP reloads, USR2 upgrades)",
        )),
    }
}

/// The status of the answer, and what it says.
fn ask(address: &AdminAddress, token: Option<&Token>, path: &str) -> io::Result<(u16, String)> {
    let authorization = token.map(|token| format!("Authorization: Bearer {}\r\n", token.reveal()));
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\
         {}\r\n",
        authorization.unwrap_or_default()
    );
    match address {
        AdminAddress::Tcp(address) => {
            let stream = TcpStream::connect_timeout(address, CONNECT_TIMEOUT)?;
            stream.set_read_timeout(Some(ADMIN_ANSWER_TIMEOUT))?;
            exchange(stream, &request)
        }
        AdminAddress::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(ADMIN_ANSWER_TIMEOUT))?;
            exchange(stream, &request)
        }
    }
}

fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<(u16, String)> {
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ADMIN_ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "that is no answer of ringpress");
    let head = response::parse(&answer, &Limits::response(), false).map_err(|_| broken())?;
    let head = head.ok_or_else(broken)?;
    let body = answer.get(head.length..).unwrap_or_default();
    let words = match body {
        [] => http::reason_phrase(head.status).to_owned(),
        body => String::from_utf8_lossy(body).into_owned(),
    };
    Ok((head.status, words))
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
