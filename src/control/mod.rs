//! The control thread: all that is slow or rare. Signals, names, the life of the workers.

pub mod life;
pub mod resolver;
pub mod server;
