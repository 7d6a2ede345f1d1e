//! Bounds of what is read and rendered.

/// minijinja instructions of one render, expression or URL. Over it: 500.
pub const RENDER_FUEL: u64 = 10_000_000;
/// Operations around each other in one expression, which minijinja handles as deep on a thread's
/// stack. Over it: the site does not start.
pub const EXPRESSION_DEPTH_MAX: usize = 200;
/// `elif`s of the `if`s around a place of a template, the same. Over it: the site does not start.
pub const TEMPLATE_BRANCHES_MAX: usize = 500;
/// Steps and expressions of a template with all it takes in. Over it: minijinja runs it itself.
pub const PROGRAM_STEPS_MAX: usize = 20_000;
/// Templates, blocks and macros within each other, as they are written. Over it: the same.
pub const PROGRAM_DEPTH_MAX: usize = 24;
/// Levels in each other by calls, when they run: bodies and expressions of macros, of call blocks
/// and of loops that call themselves. Over it: minijinja makes the page.
pub const PROGRAM_CALLED_LEVELS_MAX: usize = 900;
/// Bodies of conditions, loops and blocks in each other in a program, includes and all; of more,
/// minijinja makes the page.
pub const PROGRAM_BODIES_MAX: usize = 50;
/// The same in one macro.
pub const PROGRAM_MACRO_BODIES_MAX: usize = 12;
/// Tapes of JSON that a thread keeps for reuse; one larger than `TAPE_KEPT_BYTES_MAX` is freed.
pub const TAPES_KEPT_MAX: usize = 64;
/// The largest of those, bytes, which is about 8 KB of JSON: a page that waits with a short text
/// may hold the tape of a long one.
pub const TAPE_KEPT_BYTES_MAX: usize = 32 * 1024;
/// Depth of nested JSON (the same as serde_json's, which calls it 128).
pub const JSON_DEPTH_MAX: usize = 127;
/// What of an answer that is not JSON is told, to know it by: of its Content-Type and of its body,
/// bytes each.
pub const NOT_JSON_SHOWN_BYTES: usize = 60;
