//! `[admin]`: where the server tells of itself and takes commands, and who may ask.

use super::reader::{At, Entry, Reader};
use super::server::listen_address;
use crate::limits::{ADMIN_TOKEN_BYTES_MAX, ADMIN_TOKEN_BYTES_MIN};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// `[admin]` as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// Where it is, if anywhere.
    pub listen: Option<At<AdminAddress>>,
    /// What whoever asks must know.
    pub token: Option<At<String>>,
    /// The file in which that stands.
    pub token_file: Option<At<PathBuf>>,
    /// Who may use the socket file, as bits of its mode.
    pub socket_mode: Option<u32>,
}

/// Where the admin listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// At an address of the network.
    Tcp(SocketAddr),
    /// At a file, as a Unix socket.
    Unix(PathBuf),
}

impl AdminAddress {
    /// Reads `127.0.0.1:9180` or `unix:/run/ringpress/admin.sock`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("unix:") {
            Some(path) if path.is_empty() || path.contains('\0') => None,
            Some(path) => Some(Self::Unix(path.into())),
            None => listen_address(text).map(Self::Tcp),
        }
    }

    /// Whether other machines can come there.
    pub fn is_public(&self) -> bool {
        matches!(self, Self::Tcp(address) if !address.ip().to_canonical().is_loopback())
    }

    /// The same with a path that begins at the folder of the site file, as it is meant there.
    pub fn beside(self, folder: &Path) -> Self {
        match self {
            Self::Tcp(address) => Self::Tcp(address),
            Self::Unix(path) => Self::Unix(folder.join(path)),
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What is wrong with a token, if anything is: it stands in a header field, and is not to be
/// guessed.
pub fn token_trouble(token: &str) -> Option<String> {
    if !(ADMIN_TOKEN_BYTES_MIN..=ADMIN_TOKEN_BYTES_MAX).contains(&token.len()) {
        return Some(format!(
            "a token has {ADMIN_TOKEN_BYTES_MIN} to {ADMIN_TOKEN_BYTES_MAX} characters, not {}",
            token.len()
        ));
    }
    let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
    (!is_plain).then(|| "a token has letters, digits and signs of ASCII, and no spaces".to_owned())
}

/// How a token is made.
pub const TOKEN_HINT: &str = "make one with `openssl rand -hex 16`";

pub(super) fn read(reader: &mut Reader<'_>, table: &Entry<'_>) -> Admin {
    let mut admin = Admin::default();
    for entry in &reader.table(table) {
        match entry.key {
            "listen" => admin.listen = read_listen(reader, entry),
            "token" => admin.token = read_token(reader, table, entry),
            "token_file" => {
                let path = reader.string(entry);
                admin.token_file = path.map(|At { value, span }| At { value: value.into(), span });
            }
            "socket_mode" => admin.socket_mode = read_mode(reader, entry),
            _ => reader.unknown_key(entry, KEYS, "in [admin]"),
        }
    }
    if let (Some(_), Some(At { span, .. })) = (&admin.token, &admin.token_file) {
        let message = "`token` and `token_file` say the same thing twice";
        reader.problem_hint(span.clone(), message, "leave one of them out");
    }
    admin
}

fn read_listen(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<At<AdminAddress>> {
    let Some(value) = entry.value.get_ref().as_str() else {
        reader.wrong_form(entry, "one address such as \"127.0.0.1:9180\"");
        return None;
    };
    let span = entry.value.span();
    let Some(address) = AdminAddress::parse(value) else {
        let hint = "write one as in \"127.0.0.1:9180\" or \"unix:/run/ringpress/admin.sock\"";
        reader.problem_hint(span, format!("`{value}` is not an address to listen on"), hint);
        return None;
    };
    Some(At { value: address, span })
}

fn read_token(reader: &mut Reader<'_>, table: &Entry<'_>, entry: &Entry<'_>) -> Option<At<String>> {
    let token = reader.string(entry)?;
    if let Some(trouble) = token_trouble(&token.value) {
        // What is told is shown and logged, with the line that it is about: not that of the token.
        reader.problem_hint(table.key_span.clone(), format!("`token`: {trouble}"), TOKEN_HINT);
        return None;
    }
    Some(token)
}

fn read_mode(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<u32> {
    let mode = entry.value.get_ref().as_str();
    let mode = mode.and_then(|mode| MODES.iter().find(|(text, _)| *text == mode));
    if mode.is_none() {
        reader.wrong_form(entry, "\"0600\" (its owner), \"0660\" (its group too) or \"0666\"");
    }
    mode.map(|(_, bits)| *bits)
}

const MODES: &[(&str, u32)] = &[("0600", 0o600), ("0660", 0o660), ("0666", 0o666)];
const KEYS: &[&str] = &["listen", "token", "token_file", "socket_mode"];
