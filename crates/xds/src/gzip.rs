//! A compressed message, of which streams share nearly everything.
//!
//! ```text
//!   gzip:  header │ stored block          │ compressed blocks        │ CRC-32 and length of both
//!                 │ the stream's own part │ the shared part, by      │
//!                 │ as it is              │ reference, made once     │
//! ```
//!
//! It is one gzip member (RFC 1952), which any peer reads that accepts `gzip`. The shared blocks were made without the
//! part before them, so they point to nothing in it, and the checksum of two parts follows from theirs.

use std::io::Write;

use bytes::{BufMut, Bytes, BytesMut};
use flate2::{Compression, Crc, write::DeflateEncoder};

/// As gRPC names it in headers.
pub(crate) const ENCODING: &str = "gzip";

/// Deflate, no flags, no time, no hint about the effort, and an unknown system (RFC 1952, 2.3).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// A stored block that is not the last one (RFC 1951, 3.2.4).
const STORED: u8 = 0;

/// The shared part of messages.
#[derive(Debug)]
pub(crate) struct Deflated {
    blocks: Bytes,
    crc: Crc,
}

impl Deflated {
    pub(crate) fn new(octets: &[u8]) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        let written = encoder.write_all(octets).and_then(|()| encoder.finish());
        let mut crc = Crc::new();
        crc.update(octets);
        Self { blocks: written.expect("memory takes all octets").into(), crc }
    }

    /// The message that begins with a part of a stream's own: what is that stream's, with the shared blocks between.
    pub(crate) fn behind(&self, own: &[u8]) -> [Bytes; 3] {
        let mut before = BytesMut::with_capacity(HEADER.len() + 5 + own.len());
        before.put_slice(&HEADER);
        for stored in own.chunks(usize::from(u16::MAX)) {
            let length = stored.len() as u16;
            before.put_u8(STORED);
            before.put_u16_le(length);
            before.put_u16_le(!length);
            before.put_slice(stored);
        }
        let mut crc = Crc::new();
        crc.update(own);
        crc.combine(&self.crc);
        let after = [crc.sum().to_le_bytes(), crc.amount().to_le_bytes()].concat();
        [before.freeze(), self.blocks.clone(), after.into()]
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn read(message: &[u8]) -> Vec<u8> {
        let mut decoder = GzDecoder::new(message);
        let mut octets = Vec::new();
        decoder.read_to_end(&mut octets).unwrap();
        assert!(decoder.into_inner().is_empty(), "something follows the member");
        octets
    }

    proptest! {
        #[test]
        fn it_is_one_member_with_both_parts(own in vec(any::<u8>(), 0..300), shared in vec(0_u8..4, 0..70_000)) {
            prop_assert_eq!(read(&Deflated::new(&shared).behind(&own).concat()), [own, shared].concat());
        }
    }

    #[test]
    fn a_part_of_ones_own_may_have_any_length() {
        let (own, shared) = (vec![7; 140_000], Deflated::new(b"shared"));
        assert_eq!(read(&shared.behind(&own).concat()), [&own[..], b"shared"].concat());
    }

    #[test]
    fn streams_share_the_blocks() {
        let shared = Deflated::new(&[1; 10_000]);
        let ([_, one, _], [_, other, _]) = (shared.behind(b"one"), shared.behind(b"other"));
        assert_eq!(one.as_ptr(), other.as_ptr());
        assert!(one.len() < 100);
    }
}
