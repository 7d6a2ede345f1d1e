//! A file on its way to a visitor: read in pieces, one of which is in memory at a time.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

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
        let (file, at) = (Arc::clone(&self.file), self.at);
        let read = move || {
            buffer.resize(length, 0);
            file.read_exact_at(&mut buffer, at).map(|()| buffer)
        };
        let buffer = self.offload.run(Entry::GoingOn, read).await??;
        self.at += length as u64;
        self.left -= length as u64;
        Ok(buffer)
    }
}

impl PartialEq for FileBody {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file) && (self.at, self.left) == (other.at, other.left)
    }
}

impl Eq for FileBody {}
