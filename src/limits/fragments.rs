//! Bounds of pages within pages.

use super::PAGE_BYTES_MAX;

/// Pages within pages within pages: how deep. Over it: 500.
pub const FRAGMENT_DEPTH_MAX: usize = 4;
/// Fragments made for one page, those within fragments included. Over it: 500.
pub const FRAGMENTS_MAX: usize = 100;
/// Bytes of all of them together. Over it: 500.
pub const FRAGMENTS_BYTES_MAX: usize = PAGE_BYTES_MAX;
/// Fragments of one page that are made at once.
pub const FRAGMENTS_CONCURRENCY: usize = 32;
/// Times that a template runs until it has all that it asks for: which fragments a page needs may
/// depend on others. Over it: 500.
pub const FRAGMENT_ROUNDS_MAX: usize = 4;

const _: () = assert!(FRAGMENT_ROUNDS_MAX >= 2);
