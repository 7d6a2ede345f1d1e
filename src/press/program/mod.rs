//! A template as a program: what minijinja makes of it, without its machine. Names are resolved to
//! slots, includes and inheritance are flattened, constants are escaped, and values are read from
//! where they are in the upstream's JSON; see [`run`].
//!
//! minijinja is the reference: of any context, a program makes byte for byte what minijinja makes,
//! or nothing. It gives up wherever something would fail or is unusual, and minijinja then makes
//! the page, or the error, from the start. So errors are always minijinja's own. Operations that a
//! program has no short way for are minijinja's as well, one by one: [`foreign`].

mod assigned;
mod call;
mod compile;
mod emit;
mod evaluate;
mod expression;
mod foreign;
mod items;
mod loops;
mod native;
mod nest;
mod op;
mod operand;
mod run;
mod scope;
mod sheet;
mod statement;

pub use compile::Uncovered;
pub(super) use compile::{Library, compile};
pub(super) use expression::IMPURE;
pub(super) use foreign::{Foreign, ForeignTexts, Outcome};
pub(super) use op::{Escape, ForeignId, NameId, Program};
pub(super) use run::{Found, GaveUp, Host, run};
