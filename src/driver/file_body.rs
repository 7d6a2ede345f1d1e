//! A file on its way to a visitor: read in pieces, one of which is in memory at a time. What the
//! kernel has in its memory is copied here and now, and for the rest other threads wait.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::io::{ReadWriteFlags, preadv2};

use crate::limits::STATIC_PIECE_BYTES;

use super::offload::{Entry, Offload};

/// What is still to be sent of a file.
#[derive(Clone, Debug)]
pub struct FileBody {
    file: Arc<File>,
    at: u64,
    left: u64,
    offload: Offload,
}

impl FileBody {
    /// So many bytes of a file from `at` on.
    pub fn new(file: File, at: u64, length: u64, offload: Offload) -> Self {
        Self { file: Arc::new(file), at, left: length, offload }
    }

    /// How many bytes are left.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Reads the next piece into `buffer`, in place of what is in it.
    ///
    /// # Errors
    /// When it cannot be read: also where the file has become shorter than it was.
    pub async fn next(&mut self, mut buffer: Vec<u8>) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(STATIC_PIECE_BYTES);
        buffer.resize(length, 0);
        if !is_read_at_once(&self.file, self.at, &mut buffer) {
            let (file, at) = (Arc::clone(&self.file), self.at);
            let read = move || file.read_exact_at(&mut buffer, at).map(|()| buffer);
            buffer = self.offload.run(Entry::GoingOn, read).await??;
        }
        self.at += length as u64;
        self.left -= length as u64;
        Ok(buffer)
    }
}

/// Fills the buffer, if the kernel has all of it in memory. Not where a disk would have to be
/// asked, nor on file systems that do not tell (preadv2(2), RWF_NOWAIT).
fn is_read_at_once(file: &File, at: u64, buffer: &mut [u8]) -> bool {
    let length = buffer.len();
    let read = preadv2(file, &mut [IoSliceMut::new(buffer)], at, ReadWriteFlags::NOWAIT);
    // Whatever is wrong with the file, who waits for it is told the same.
    read.is_ok_and(|read| read == length)
}

impl PartialEq for FileBody {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file) && (self.at, self.left) == (other.at, other.left)
    }
}

impl Eq for FileBody {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_has_just_been_written_is_there_at_once_and_nothing_beyond_the_end() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut buffer = [0; 4];
        // A file system may not be able to tell.
        if is_read_at_once(&file, 3, &mut buffer) {
            assert_eq!(&buffer, b"3456");
        }
        assert!(!is_read_at_once(&file, 7, &mut buffer));
    }
}
