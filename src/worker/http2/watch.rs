//! How far the frames of a client have come (RFC 9113 section 4.1): whether a head is under way.
//! h2 hands a request over when its head is whole, and until then nobody but who sees the bytes
//! knows that there is one.

/// What has come of frames, and of the preface before them.
#[derive(Debug)]
pub(super) struct HeadWatch {
    /// Bytes of the frame's own head that have come; all of them while its payload comes.
    framed: usize,
    /// Bytes of its payload that are still to come.
    left: usize,
    kind: u8,
    flags: u8,
    /// Whether a header list goes on in the next frame.
    goes_on: bool,
    /// Frames begun that go on with no header list.
    begun: u64,
}

impl Default for HeadWatch {
    /// Before the preface, which is taken for the payload of a frame that is no head.
    fn default() -> Self {
        let (framed, left) = (FRAME_HEAD_BYTES, PREFACE_BYTES);
        Self { framed, left, kind: 0, flags: 0, goes_on: false, begun: 0 }
    }
}

impl HeadWatch {
    /// Takes in what has come.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((byte, rest)) = bytes.split_first() {
            bytes = rest;
            if self.framed < FRAME_HEAD_BYTES {
                self.frame(*byte);
            } else {
                let more = rest.len().min(self.left.saturating_sub(1));
                self.left = self.left.saturating_sub(1 + more);
                bytes = rest.get(more..).unwrap_or_default();
            }
            if self.framed == FRAME_HEAD_BYTES && self.left == 0 {
                self.framed = 0;
                if self.is_head() {
                    self.goes_on = self.flags & END_HEADERS == 0;
                }
            }
        }
    }

    /// Which head is under way, if one is, or may be: before its kind has come, any frame may be
    /// one.
    pub(super) fn under_way(&self) -> Option<u64> {
        let is_framed = self.framed == FRAME_HEAD_BYTES;
        let may_be_head = self.framed > 0 && (!is_framed || self.is_head());
        (self.goes_on || may_be_head).then_some(self.begun)
    }

    /// Takes in a byte of a frame's own head.
    fn frame(&mut self, byte: u8) {
        match self.framed {
            0 => {
                self.begun += u64::from(!self.goes_on);
                self.left = usize::from(byte);
            }
            1 | 2 => self.left = self.left << 8 | usize::from(byte),
            3 => self.kind = byte,
            4 => self.flags = byte,
            _ => {}
        }
        self.framed += 1;
    }

    fn is_head(&self) -> bool {
        matches!(self.kind, HEADERS | CONTINUATION)
    }
}

const PREFACE_BYTES: usize = 24;
const FRAME_HEAD_BYTES: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        [&[0, 0, length, kind, flags, 0, 0, 0, 1][..], &vec![7; length.into()]].concat()
    }

    #[test]
    fn a_head_is_under_way_until_its_last_byte() {
        let frames = [
            (frame(4, 0, 6), false),
            (frame(HEADERS, 0, 30), true),
            (frame(CONTINUATION, 0, 0), true),
            (frame(CONTINUATION, END_HEADERS, 5), false),
            (frame(0, 1, 200), false),
            (frame(HEADERS, END_HEADERS, 0), false),
            (frame(HEADERS, END_HEADERS, 9), false),
        ];
        let mut watch = HeadWatch::default();
        watch.pass(&[b'x'; PREFACE_BYTES]);
        for (frame, goes_on) in &frames {
            let before = watch.under_way();
            for at in 1..=frame.len() {
                watch.pass(&frame[at - 1..at]);
                let is_under_way = match at == frame.len() {
                    true => *goes_on,
                    false => at < FRAME_HEAD_BYTES || frame[3] != 0 && frame[3] != 4,
                };
                assert_eq!(watch.under_way().is_some(), is_under_way, "{at} of {frame:?}");
                assert!(before.is_none() || !is_under_way || watch.under_way() == before);
            }
        }
        // Cut anywhere, it comes to the same.
        let all: Vec<u8> = [&[b'x'; PREFACE_BYTES][..]]
            .into_iter()
            .chain(frames.iter().map(|(frame, _)| &frame[..]))
            .flatten()
            .copied()
            .collect();
        for cut in 0..=all.len() {
            let (mut whole, mut cut_up) = (HeadWatch::default(), HeadWatch::default());
            whole.pass(&all);
            cut_up.pass(&all[..cut]);
            cut_up.pass(&all[cut..]);
            assert_eq!(format!("{whole:?}"), format!("{cut_up:?}"), "{cut}");
        }
        // Another head is another, however soon it comes.
        watch.pass(&frames[1].0);
        let first = watch.under_way();
        watch.pass(&[&frames[3].0[..], &frames[1].0].concat());
        assert!(first.is_some() && watch.under_way().is_some() && watch.under_way() != first);
    }
}
