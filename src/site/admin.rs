//! The admin listener of a site, resolved: where it is, and the token that it asks for.

use super::plan::Overrides;
use crate::config::{self, At, Problem, SourceFile};
use crate::limits::ADMIN_TOKEN_BYTES_MAX;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

pub use crate::config::AdminAddress;

/// Where the server tells of itself and takes commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminPlan {
    /// The address.
    pub listen: AdminAddress,
    /// What whoever asks must know; none where whoever comes there may ask.
    pub token: Option<Token>,
    /// Who may use the file of a Unix socket, as bits of its mode.
    pub socket_mode: u32,
}

/// A secret; not shown by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Arc<str>);

impl Token {
    /// Of this text.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl AdminPlan {
    /// What is written, and what stands above it.
    pub(super) fn resolve(
        written: config::Admin,
        overrides: &Overrides,
        file: &SourceFile,
        folder: &Path,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let token = match &overrides.admin_token_file {
            Some(path) => token_in(path)
                .map_err(|(message, hint)| {
                    let message = format!("{}: {message}", path.display());
                    problems.push(Problem::of_file("", message).hint(hint));
                })
                .ok(),
            None => read_token(&written, file, folder, problems),
        };
        let has_token = written.token.is_some()
            || written.token_file.is_some()
            || overrides.admin_token_file.is_some();
        let (listen, span) = match (&overrides.admin, written.listen) {
            (Some(chosen), _) => (chosen.clone()?, None),
            (None, Some(At { value, span })) => (value.beside(folder), Some(span)),
            (None, None) => return None,
        };
        if listen.is_public() && !has_token {
            let message = format!(
                "whoever reaches {listen} could see what this server does, and reload it: there \
                 is no token"
            );
            let problem = match span {
                Some(span) => file.problem(span, message),
                None => Problem::of_file("", message),
            };
            problems.push(problem.hint(
                "listen on 127.0.0.1 or a Unix socket, or write token = \"...\" or token_file in \
                 [admin], or serve with --admin-token-file",
            ));
        }
        let socket_mode = written.socket_mode.unwrap_or(SOCKET_MODE);
        Some(Self { listen, token, socket_mode })
    }
}

fn read_token(
    written: &config::Admin,
    file: &SourceFile,
    folder: &Path,
    problems: &mut Vec<Problem>,
) -> Option<Token> {
    if let Some(token) = &written.token {
        return Some(Token::new(&token.value));
    }
    let At { value: path, span } = written.token_file.as_ref()?;
    let (message, hint) = match token_in(&folder.join(path)) {
        Ok(token) => return Some(token),
        Err(trouble) => trouble,
    };
    problems.push(file.problem(span.clone(), message).hint(hint));
    None
}

/// The token in a file, or what is wrong, and the remedy.
fn token_in(path: &Path) -> Result<Token, (String, &'static str)> {
    let token = read_file(path).map_err(|error| {
        (format!("the token cannot be read: {error}"), "see the path and its mode")
    })?;
    match config::token_trouble(&token) {
        None => Ok(Token::new(&token)),
        Some(trouble) => Err((trouble, config::TOKEN_HINT)),
    }
}

/// The text of a file, without the end of its line. One that is too long for a token is read as far
/// as that is seen.
fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(ADMIN_TOKEN_BYTES_MAX as u64 + 3).read_to_string(&mut text)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Its owner alone.
const SOCKET_MODE: u32 = 0o600;
