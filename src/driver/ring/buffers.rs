//! Memory that the kernel receives into: a ring of buffers it takes from, and we give back to.
//! A connection that waits for bytes has none of it; the kernel takes a buffer when they come.
#![expect(unsafe_code, reason = "memory that is shared with the kernel")]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring_07::types::BufRingEntry;
use io_uring_07::{Submitter, cqueue};

use crate::limits::{RING_BUFFER_BYTES, RING_BUFFERS};

/// The group's number, which receives name.
pub(super) const GROUP: u16 = 0;
/// At least the size of a memory page, which the ring must be aligned to.
const ALIGNMENT: usize = 64 * 1024;
const BYTES: usize = RING_BUFFERS as usize * RING_BUFFER_BYTES as usize;

const _: () = assert!(RING_BUFFERS.is_power_of_two() && RING_BUFFERS <= 1 << 15);

/// The buffers of a ring. Their memory is given back when this is dropped: that may not be before
/// the kernel has completed all that receives into them.
pub(super) struct Buffers {
    entries: Memory,
    bytes: Memory,
    /// Where the next buffer that is given back goes; the kernel is told of it by `publish`.
    tail: u16,
}

/// A buffer the kernel has filled. There is one for each that it has taken, so that none can be
/// read after it was given back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filled {
    buffer: u16,
    length: u32,
}

impl Filled {
    /// The buffer that a completion names.
    ///
    /// # Safety
    /// The completion must have come from the ring, and have been asked once.
    pub(super) unsafe fn of(entry: &cqueue::Entry) -> Option<Self> {
        let buffer = cqueue::buffer_select(entry.flags())?;
        // An error that comes with a buffer has filled nothing of it.
        Some(Self { buffer, length: u32::try_from(entry.result()).unwrap_or(0) })
    }
}

impl Buffers {
    /// Allocates the buffers and tells the ring about them.
    pub(super) fn register(submitter: &Submitter<'_>) -> io::Result<Self> {
        let entries = Memory::new(usize::from(RING_BUFFERS) * size_of::<BufRingEntry>())?;
        let mut buffers = Self { entries, bytes: Memory::new(BYTES)?, tail: 0 };
        for buffer in 0..RING_BUFFERS {
            buffers.give_back(buffer);
        }
        buffers.publish();
        let address = buffers.entries.start.as_ptr().expose_provenance() as u64;
        // SAFETY: the address is that of `RING_BUFFERS` entries, aligned to a page; they are freed
        // when nothing receives any more.
        unsafe { submitter.register_buf_ring_with_flags(address, RING_BUFFERS, GROUP, 0) }?;
        Ok(buffers)
    }

    /// Shows what was received, and gives the buffer back.
    pub(super) fn consume(&mut self, filled: Filled, read: impl FnOnce(&[u8])) {
        debug_assert!(filled.buffer < RING_BUFFERS && filled.length <= RING_BUFFER_BYTES);
        let buffer = filled.buffer % RING_BUFFERS;
        let length = filled.length.min(RING_BUFFER_BYTES) as usize;
        let from = usize::from(buffer) * RING_BUFFER_BYTES as usize;
        // SAFETY: `buffer` is below RING_BUFFERS, so this is within the allocation.
        let start = unsafe { self.bytes.start.add(from) };
        // SAFETY: `length` is at most RING_BUFFER_BYTES, the memory was allocated zeroed, and the
        // kernel does not write to a buffer that it has given to us until it gets it back, below.
        read(unsafe { slice::from_raw_parts(start.as_ptr(), length) });
        self.give_back(buffer);
    }

    fn give_back(&mut self, buffer: u16) {
        let slot = usize::from(self.tail & (RING_BUFFERS - 1));
        // SAFETY: `slot` is below RING_BUFFERS, so this is within the allocation.
        let mut entry = unsafe { self.entries.start.cast::<BufRingEntry>().add(slot) };
        // SAFETY: zeros are an entry, and the kernel reads no entry from the tail on before
        // `publish` moves it. There are as many slots as buffers, so this one is not in use.
        let entry = unsafe { entry.as_mut() };
        let start = self.bytes.start.as_ptr().expose_provenance();
        entry.set_addr((start + usize::from(buffer) * RING_BUFFER_BYTES as usize) as u64);
        entry.set_len(RING_BUFFER_BYTES);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Tells the kernel of the buffers that were given back.
    pub(super) fn publish(&self) {
        // SAFETY: this is the first entry of the ring, which is initialized.
        let tail = unsafe { BufRingEntry::tail(self.entries.start.as_ptr().cast()) };
        // SAFETY: the tail is an aligned u16 in memory that lives as long as `self`. We only ever
        // write it here, and `give_back` writes the other fields of the first entry.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        // The kernel's load of it acquires: what is in the entries has been written before.
        tail.store(self.tail, Ordering::Release);
    }
}

/// Zeroed memory, aligned for the kernel.
struct Memory {
    start: NonNull<u8>,
    layout: Layout,
}

impl Memory {
    fn new(bytes: usize) -> io::Result<Self> {
        let layout = Layout::from_size_align(bytes.max(1), ALIGNMENT).map_err(io::Error::other)?;
        // SAFETY: the layout's size is not zero.
        let memory = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(memory).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, layout })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout, and is freed once.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}
