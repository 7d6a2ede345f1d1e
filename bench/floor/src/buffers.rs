//! Memory that the kernel receives into: a ring of buffers it takes from, and we give back to.
#![expect(unsafe_code, reason = "memory that is shared with the kernel")]

use std::alloc::{Layout, alloc_zeroed};
use std::io;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

/// How many buffers there are: more than one turn of the ring fills, since each is given back
/// before the next turn; and few, so that they stay in the cache.
const BUFFERS: u16 = 256;
/// The size of one: a whole answer of the API fits.
const BUFFER_BYTES: u32 = 2048;
/// The group's number, which receives name.
pub(crate) const GROUP: u16 = 0;
/// At least the size of a memory page, which the ring must be aligned to.
const ALIGNMENT: usize = 64 * 1024;

const _: () = assert!(BUFFERS.is_power_of_two() && BUFFERS <= 1 << 15);

/// The buffers. Their memory is never freed: the kernel may write to it as long as the ring is
/// there, and the ring is there as long as the program.
pub(crate) struct Buffers {
    entries: NonNull<BufRingEntry>,
    bytes: NonNull<u8>,
    /// Where the next buffer that is given back goes; the kernel is told of it by `publish`.
    tail: u16,
}

/// A buffer the kernel has filled. There is one for each that it has taken, so that none can be
/// read after it was given back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Filled {
    buffer: u16,
    length: u32,
}

impl Filled {
    /// The buffer that a completion names.
    ///
    /// # Safety
    /// The completion must have come from the ring, and have been asked once.
    pub(crate) unsafe fn of(result: i32, flags: u32) -> Option<Self> {
        let buffer = io_uring::cqueue::buffer_select(flags)?;
        // An error that comes with a buffer has filled nothing of it.
        Some(Self { buffer, length: u32::try_from(result).unwrap_or(0) })
    }
}

impl Buffers {
    /// Allocates the buffers and tells the ring about them.
    pub(crate) fn register(submitter: &Submitter<'_>) -> io::Result<Self> {
        let entries = allocate(usize::from(BUFFERS) * size_of::<BufRingEntry>())?;
        let bytes = allocate(usize::from(BUFFERS) * BUFFER_BYTES as usize)?;
        let mut buffers = Self { entries: entries.cast(), bytes, tail: 0 };
        for buffer in 0..BUFFERS {
            buffers.give_back(buffer);
        }
        buffers.publish();
        let address = entries.as_ptr().expose_provenance() as u64;
        // SAFETY: the address is that of `BUFFERS` entries, aligned to a page and never freed.
        unsafe { submitter.register_buf_ring_with_flags(address, BUFFERS, GROUP, 0) }?;
        Ok(buffers)
    }

    /// Shows what was received, and gives the buffer back.
    pub(crate) fn consume<R>(&mut self, filled: Filled, read: impl FnOnce(&[u8]) -> R) -> R {
        debug_assert!(filled.buffer < BUFFERS && filled.length <= BUFFER_BYTES);
        let buffer = filled.buffer % BUFFERS;
        let length = filled.length.min(BUFFER_BYTES) as usize;
        // SAFETY: `buffer` is below BUFFERS, so this is within the allocation.
        let start = unsafe { self.bytes.add(usize::from(buffer) * BUFFER_BYTES as usize) };
        // SAFETY: `length` is at most BUFFER_BYTES, the memory was allocated zeroed, and the
        // kernel does not write to a buffer that it has given to us until it gets it back, below.
        let bytes = unsafe { slice::from_raw_parts(start.as_ptr(), length) };
        let outcome = read(bytes);
        self.give_back(buffer);
        outcome
    }

    fn give_back(&mut self, buffer: u16) {
        let slot = usize::from(self.tail & (BUFFERS - 1));
        // SAFETY: `slot` is below BUFFERS, so this is within the allocation.
        let mut entry = unsafe { self.entries.add(slot) };
        // SAFETY: zeros are an entry, and the kernel reads no entry from the tail on before
        // `publish` moves it. There are as many slots as buffers, so this one is not in use.
        let entry = unsafe { entry.as_mut() };
        let start = self.bytes.as_ptr().expose_provenance();
        entry.set_addr((start + usize::from(buffer) * BUFFER_BYTES as usize) as u64);
        entry.set_len(BUFFER_BYTES);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Tells the kernel of the buffers that were given back.
    pub(crate) fn publish(&self) {
        // SAFETY: `entries` points at the first entry of the ring, which is initialized.
        let tail = unsafe { BufRingEntry::tail(self.entries.as_ptr()) };
        // SAFETY: the tail is an aligned u16 in memory that is never freed. We only ever write it
        // here, and `give_back` writes the other fields of the first entry.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        // The kernel's load of it acquires: what is in the entries has been written before.
        tail.store(self.tail, Ordering::Release);
    }
}

/// Zeroed memory that is never freed.
fn allocate(bytes: usize) -> io::Result<NonNull<u8>> {
    let layout = Layout::from_size_align(bytes, ALIGNMENT).map_err(io::Error::other)?;
    debug_assert!(layout.size() > 0);
    // SAFETY: the layout's size is not zero, as all our sizes are constants above it.
    let memory = unsafe { alloc_zeroed(layout) };
    NonNull::new(memory).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}
