//! Bounds of pages within pages.

/// Pages within pages within pages: how deep.
pub const FRAGMENT_DEPTH_MAX: usize = 4;
