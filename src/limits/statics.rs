//! Bounds of static files.

/// Static files that a worker keeps in memory, bytes.
pub const STATIC_CACHE_BYTES_MAX: usize = 16 * 1024 * 1024;
