//! The ntex server on io_uring: ntex's feature `neon-uring`.

use std::{fs, io};

use common::Arguments;

const CRATES: &[&str] = &["ntex", "ntex-net", "ntex-io-uring", "minijinja", "serde_json"];

#[ntex::main]
async fn main() -> io::Result<()> {
    let arguments = Arguments::read(CRATES);
    // Built together with ntex-tokio, this program would have tokio's runtime: its feature wins.
    if !has_ring()? {
        return Err(io::Error::other("this build has no io_uring: build it with -p ntex-uring"));
    }
    eprintln!("on io_uring");
    ntex_minijinja::serve(arguments).await
}

/// Whether ntex has made a ring for this thread.
fn has_ring() -> io::Result<bool> {
    for descriptor in fs::read_dir("/proc/self/fd")? {
        // The one of this directory listing is gone when it is looked at.
        let target = fs::read_link(descriptor?.path()).unwrap_or_default();
        if target.as_os_str() == "anon_inode:[io_uring]" {
            return Ok(true);
        }
    }
    Ok(false)
}
