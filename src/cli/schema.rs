//! `ringpress schema`: the JSON Schema of site.toml.

use std::io::{self, Write};

use crate::config::SCHEMA;

use super::Exit;

pub(super) fn run() -> Exit {
    // A closed pipe, as of `| head`, is no failure.
    let _ = io::stdout().write_all(SCHEMA.as_bytes());
    Exit::Fine
}
