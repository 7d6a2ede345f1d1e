//! The control thread: all that is slow or rare. Signals, names, the life of the workers.

pub mod certificates;
mod dns;
pub mod life;
pub mod names;
pub mod resolver;
pub mod server;
