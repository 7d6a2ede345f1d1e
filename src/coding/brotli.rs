//! Brotli (RFC 7932).

use std::io::{self, Write};

use brotli::enc::{BrotliCompress, BrotliEncoderParams};

/// Packs bytes into `room`, and gives how many it takes. Its tables are made anew each time: to
/// keep them saves nothing, as they have to be cleared.
pub(super) fn pack(level: u8, bytes: &[u8], room: &mut [u8]) -> Option<usize> {
    let mut params = BrotliEncoderParams {
        quality: i32::from(level),
        size_hint: bytes.len(),
        ..BrotliEncoderParams::default()
    };
    // A window of what there is, and no more: tables are of its size.
    let bits = usize::BITS - bytes.len().leading_zeros();
    params.lgwin = i32::try_from(bits.clamp(16, 22)).unwrap_or(22);
    let mut room = Room { room, filled: 0 };
    BrotliCompress(&mut &*bytes, &mut room, &params).ok()?;
    Some(room.filled)
}

/// The room there is, which is not to grow.
struct Room<'a> {
    room: &'a mut [u8],
    filled: usize,
}

impl Write for Room<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = self.filled + bytes.len();
        let place = self.room.get_mut(self.filled..end).ok_or(io::ErrorKind::WriteZero)?;
        place.copy_from_slice(bytes);
        self.filled = end;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
