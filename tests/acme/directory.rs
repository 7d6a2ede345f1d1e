//! A directory that turns everybody away, which Pebble never does: it says for how long.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::pebble;
use super::visitor::PATIENCE;

/// Starts it, and gives the URL of the directory and what its certificate is to be checked with.
/// It ends with the process. Each new account is answered with 429 and `retry_after`; where it is
/// down, all is answered with 503 and this.
pub(crate) fn start(retry_after: &'static str, down: Option<&'static str>) -> (String, String) {
    let authority = pebble::authority();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let own = own.signed_by(&key, &authority).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], PrivateKeyDer::from(key))
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            // Who ends a connection early ends it for themselves.
            let _ = serve(StreamOwned::new(connection, stream), address, retry_after, down);
        }
    });
    (format!("https://{address}/dir"), authority.pem())
}

/// Answers one request, and closes the connection.
fn serve(
    stream: StreamOwned<ServerConnection, TcpStream>,
    address: SocketAddr,
    retry_after: &str,
    down: Option<&str>,
) -> std::io::Result<()> {
    stream.sock.set_read_timeout(Some(PATIENCE))?;
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    while !lines.last().is_some_and(|line: &String| line.trim().is_empty()) {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        lines.push(line.to_ascii_lowercase());
    }
    let length = lines.iter().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    stream.read_exact(&mut vec![0; length])?;
    let path = lines[0].split(' ').nth(1).unwrap();
    let (status, fields, body) = match (path, down) {
        (_, Some(body)) => {
            let fields = format!("Retry-After: {retry_after}\r\n");
            ("503 Service Unavailable", fields, body.to_owned())
        }
        ("/dir", None) => {
            let url = |name| format!("https://{address}/{name}");
            let body = serde_json::json!({
                "newNonce": url("nonce"), "newAccount": url("account"), "newOrder": url("order"),
                "revokeCert": url("revoke"), "keyChange": url("key"),
            });
            ("200 OK", String::new(), body.to_string())
        }
        ("/nonce", None) => ("200 OK", "Replay-Nonce: n\r\n".to_owned(), String::new()),
        _ => {
            let body = serde_json::json!({
                "type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many accounts",
            });
            let fields = format!("Replay-Nonce: n\r\nRetry-After: {retry_after}\r\n");
            ("429 Too Many Requests", fields, body.to_string())
        }
    };
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\n{fields}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    let stream = stream.get_mut();
    stream.write_all(answer.as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()
}
