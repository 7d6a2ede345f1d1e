//! Bounds of what is compressed.

/// A body below this, bytes, is sent as it is: packing it would save no packet.
pub const COMPRESS_BYTES_MIN: usize = 1024;
