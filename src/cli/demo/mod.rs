//! The data behind `ringpress demo`: a stand-in for the public Hacker News API, so that the demo
//! runs without a network. Everything in it is made up, the same on every run, and made here from
//! word lists; nothing is read or fetched. It has no IO of its own: the command puts it behind a
//! socket.

pub mod api;
pub mod prose;
pub mod pursuits;
pub mod topics;
pub mod words;
pub mod world;
