//! The ntex server on tokio: ntex's feature `tokio`.

use common::Arguments;

const CRATES: &[&str] = &["ntex", "ntex-net", "tokio", "minijinja", "serde_json"];

#[ntex::main]
async fn main() -> std::io::Result<()> {
    ntex_minijinja::serve(Arguments::read(CRATES)).await
}
