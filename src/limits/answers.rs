//! Bounds of what a page says beside its body.

/// A value of Location, bytes. Over it: 500.
pub const LOCATION_BYTES_MAX: usize = 8 * 1024;
