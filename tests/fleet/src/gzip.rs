//! Decompresses what agents hear.
//!
//! All agents share one thread. So what a pilot compresses once for all of them is decompressed once as well:
//!
//! ```text
//!   gzip:  header │ stored block: an agent's own │ blocks: known by their octets once an agent had them │ checksum
//! ```
//!
//! A pilot that lays its messages out in another way has all of them decompressed.

use std::{cell::RefCell, collections::VecDeque, io::Read};

use anyhow::{Context, ensure};
use bytes::{Buf, Bytes};
use flate2::read::GzDecoder;

/// Largest message that an agent takes, as its client's.
const LARGEST: usize = 4 << 20;

/// Blocks that are remembered: those of a first sync with some thousand services.
const KNOWN: usize = 128;

const HEADER: usize = 10;
const CHECKSUM: usize = 8;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Decompression {
    known: RefCell<VecDeque<(Bytes, Bytes)>>,
}

impl Decompression {
    pub(crate) fn read(&self, message: &Bytes) -> anyhow::Result<Bytes> {
        let (own, blocks) = parts(message).unwrap_or_default();
        if let Some((_, content)) = self.known.borrow().iter().find(|(known, _)| *known == blocks) {
            return Ok([&own[..], content].concat().into());
        }
        let mut octets = Vec::new();
        GzDecoder::new(&**message).take(LARGEST as u64 + 1).read_to_end(&mut octets).context("decompress")?;
        ensure!(octets.len() <= LARGEST, "a response is too large");
        let octets = Bytes::from(octets);
        if !blocks.is_empty() {
            let mut known = self.known.borrow_mut();
            known.truncate(KNOWN - 1);
            known.push_front((blocks, octets.slice(own.len()..)));
        }
        Ok(octets)
    }
}

/// What the first block stores, and the blocks behind it.
fn parts(message: &Bytes) -> Option<(Bytes, Bytes)> {
    let mut rest = message.slice(..message.len().checked_sub(CHECKSUM)?);
    // No flags, and a stored block that is not the last.
    if rest.try_get_uint_le(4).ok()? != 0x0008_8b1f {
        return None;
    }
    rest.try_copy_to_slice(&mut [0; HEADER - 4]).ok()?;
    if rest.try_get_u8().ok()? != 0 {
        return None;
    }
    let length = usize::from(rest.try_get_u16_le().ok()?);
    rest.try_get_u16_le().ok()?;
    (length <= rest.len()).then(|| (rest.split_to(length), rest))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, Crc, write::DeflateEncoder, write::GzEncoder};

    use super::*;

    /// As a pilot compresses a message.
    fn message(own: &str, content: &str) -> Bytes {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content.as_bytes()).unwrap();
        let blocks = encoder.finish().unwrap();
        let mut crc = Crc::new();
        crc.update([own, content].concat().as_bytes());
        let length = own.len() as u16;
        let stored = [&[0][..], &length.to_le_bytes(), &(!length).to_le_bytes(), own.as_bytes()].concat();
        let end = [crc.sum().to_le_bytes(), crc.amount().to_le_bytes()].concat();
        [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255][..], &stored, &blocks, &end].concat().into()
    }

    #[test]
    fn blocks_are_decompressed_once_and_an_agents_own_part_is_its_own() {
        let decompression = Decompression::default();
        for own in ["one", "another", ""] {
            assert_eq!(decompression.read(&message(own, "content")).unwrap(), [own, "content"].concat());
        }
        assert_eq!(decompression.known.borrow().len(), 1);
        assert_eq!(decompression.read(&message("one", "other content")).unwrap(), "oneother content");
    }

    #[test]
    fn any_gzip_is_read_and_what_is_broken_or_too_large_is_an_error() {
        let decompression = Decompression::default();
        let gzip = |octets: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(octets).unwrap();
            Bytes::from(encoder.finish().unwrap())
        };
        assert_eq!(decompression.read(&gzip(b"as others compress")).unwrap(), "as others compress");
        assert!(decompression.read(&gzip(&vec![0; LARGEST + 1])).is_err());
        let whole = message("own", "content");
        for length in 0..whole.len() {
            assert!(decompression.read(&whole.slice(..length)).is_err(), "{length}");
        }
    }
}
