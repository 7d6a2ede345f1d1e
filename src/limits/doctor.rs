//! Bounds of what `doctor` looks at, and what it reckons with.

/// A file of /proc or /sys that `doctor` reads, bytes; what is beyond is not looked at.
pub const DOCTOR_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Entries of a folder there that it looks at.
pub const DOCTOR_ENTRIES_MAX: usize = 65_536;
/// CPUs and nodes that it knows: numbers from here on are none.
pub const DOCTOR_CPUS_MAX: usize = 8192;
/// Control groups from that of a process up.
pub const DOCTOR_GROUPS_DEEP_MAX: usize = 64;
/// Network cards that it looks at.
pub const DOCTOR_CARDS_MAX: usize = 16;
/// Visitors a worker can take, with fewer of which it says that this is bad.
pub const DOCTOR_CONNECTIONS_FEW: usize = 256;
/// Locked memory that the ring of a worker takes where the kernel counts it, bytes.
pub const RING_BYTES_MAX: u64 = 256 * 1024;
/// What a page takes while it waits for its API, bytes: measured, for estimates.
pub const WAITING_PAGE_BYTES: u64 = 8 * 1024;
