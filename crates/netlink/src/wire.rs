//! Writes and parses netlink messages: RFC 3549 section 2.2, and attributes as in the kernel's `netlink.h`.
//!
//! The parser never panics and never reads past a length. A truncated message ends the iteration.

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Length of `struct nlattr`.
const ATTRIBUTE: usize = 4;
/// Flag of an attribute that contains attributes.
const NESTED: u16 = 1 << 15;
/// The kind of an attribute without its flags.
const KIND: u16 = 0x3fff;

/// Flag: the message is a request.
pub(crate) const REQUEST: u16 = 1;
/// Flag: report success, too.
pub const ACK: u16 = 4;
/// Flag: return all objects.
pub const DUMP: u16 = 0x300;
/// Flag: create the object when it does not exist.
pub const CREATE: u16 = 0x400;
/// Flag: append the object to the others.
pub const APPEND: u16 = 0x800;
/// Flag: replace an existing object.
pub const REPLACE: u16 = 0x100;
/// Flag: fail when the object exists.
pub const EXCLUSIVE: u16 = 0x200;

/// An error, or an acknowledgement when the error is 0.
pub(crate) const ERROR: u16 = 2;
/// The end of a dump.
pub(crate) const DONE: u16 = 3;
/// Objects changed while they were dumped.
pub(crate) const INTERRUPTED: u16 = 0x10;

/// Writes messages one after the other.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Writes a single message, whose content after the header `body` writes.
    pub fn single(kind: u16, flags: u16, sequence: u32, body: impl FnOnce(&mut Self)) -> Self {
        let mut writer = Self::default();
        writer.message(kind, flags, sequence, body);
        writer
    }

    /// The bytes written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes a message, whose content after the header `body` writes. Returns where the message begins.
    pub fn message(&mut self, kind: u16, flags: u16, sequence: u32, body: impl FnOnce(&mut Self)) -> usize {
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags | REQUEST).to_ne_bytes());
        self.bytes.extend(sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        body(self);
        let length = u32::try_from(self.bytes.len() - start).expect("a message is far shorter than 4 GiB");
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        start
    }

    /// Requests an acknowledgement of the message that begins at `start`.
    pub fn acknowledge(&mut self, start: usize) {
        for (byte, flag) in self.bytes[start + 6..start + 8].iter_mut().zip(ACK.to_ne_bytes()) {
            *byte |= flag;
        }
    }

    /// Writes a fixed structure.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes an attribute with its padding.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.framed(kind, |writer| writer.raw(value));
    }

    /// Writes a text with the NUL that the kernel expects.
    pub fn text(&mut self, kind: u16, value: &str) {
        self.framed(kind, |writer| {
            writer.raw(value.as_bytes());
            writer.raw(&[0]);
        });
    }

    /// Writes a number in network byte order, as nf_tables expects.
    pub fn u32_be(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// Writes a number in the machine's byte order, as rtnetlink expects.
    pub fn u32_ne(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    /// Writes an attribute that contains attributes.
    pub fn nested(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        self.framed(kind | NESTED, body);
    }

    fn framed(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        body(self);
        let length = u16::try_from(self.bytes.len() - start).expect("an attribute of ours is far shorter than 64 KiB");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// A parsed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Type of the message.
    pub kind: u16,
    /// Flags of the header.
    pub flags: u16,
    /// Sequence number; that of the request in an answer.
    pub sequence: u32,
    /// Content after the header.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The attributes after a fixed structure of `skip` bytes.
    pub fn attributes(&self, skip: usize) -> Attributes<'a> {
        Attributes(self.body.get(skip..).unwrap_or_default())
    }

    /// The errno of an error, of an acknowledgement (0), or of the end of a dump.
    pub fn errno(&self) -> i32 {
        number_at(self.body, 0).map_or(0, |value| i32::from_ne_bytes(value).wrapping_neg())
    }
}

/// The messages of a datagram.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(number_at(rest, 0)?)).ok()?;
        let body = rest.get(HEADER..length)?;
        let message = Message {
            kind: u16::from_ne_bytes(number_at(rest, 4)?),
            flags: u16::from_ne_bytes(number_at(rest, 6)?),
            sequence: u32::from_ne_bytes(number_at(rest, 8)?),
            body,
        };
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// Parsed attributes: kind and value, in the order of the message.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a>(pub &'a [u8]);

impl<'a> Attributes<'a> {
    /// The first attribute of a kind.
    pub fn get(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find(|(each, _)| *each == kind).map(|(_, value)| value)
    }

    /// The attributes inside an attribute; empty when it is absent.
    pub fn inside(self, kind: u16) -> Self {
        Self(self.get(kind).unwrap_or_default())
    }

    /// A number in network byte order.
    pub fn u32_be(self, kind: u16) -> Option<u32> {
        number_at(self.get(kind)?, 0).map(u32::from_be_bytes)
    }

    /// A number in the machine's byte order.
    pub fn u32_ne(self, kind: u16) -> Option<u32> {
        number_at(self.get(kind)?, 0).map(u32::from_ne_bytes)
    }

    /// A text, without its NUL.
    pub fn text(self, kind: u16) -> Option<String> {
        let value = self.get(kind)?;
        let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
        Some(String::from_utf8_lossy(&value[..end]).into_owned())
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes(number_at(self.0, 0)?));
        let kind = u16::from_ne_bytes(number_at(self.0, 2)?) & KIND;
        let value = self.0.get(ATTRIBUTE..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

fn number_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Parses every part in every way, and checks that there are no more parts than bytes.
    fn assert_bounded(bytes: &[u8]) -> Result<(), TestCaseError> {
        prop_assert!(messages(bytes).take(bytes.len() + 1).count() <= bytes.len());
        for message in messages(bytes) {
            message.errno();
            let attributes = message.attributes(0);
            prop_assert!(attributes.take(bytes.len() + 1).count() <= bytes.len());
            for (kind, value) in attributes {
                attributes.inside(kind).for_each(drop);
                let (text, number) = (attributes.text(kind), attributes.u32_be(kind));
                prop_assert!(text.is_some() && number.is_some() == (attributes.get(kind).unwrap().len() >= 4));
                prop_assert!(value.len() <= bytes.len());
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(kind in 0u16..0x3fff, text in "[a-z]{0,9}", number: u32, sequence: u32) {
            let mut writer = Writer::default();
            writer.message(7, ACK, sequence, |writer| {
                writer.raw(&[1, 2, 3, 4]);
                writer.text(kind, &text);
            });
            writer.message(8, DUMP, sequence, |writer| writer.nested(kind, |writer| {
                writer.u32_be(5, number);
                writer.u32_ne(6, number);
            }));
            let read: Vec<_> = messages(writer.bytes()).collect();
            prop_assert_eq!(read.len(), 2);
            prop_assert_eq!((read[0].kind, read[0].flags, read[0].sequence), (7, ACK | REQUEST, sequence));
            prop_assert_eq!(read[0].attributes(4).text(kind), Some(text));
            let inside = read[1].attributes(0).inside(kind);
            prop_assert_eq!((inside.u32_be(5), inside.u32_ne(6)), (Some(number), Some(number)));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic_and_come_to_an_end(bytes: Vec<u8>) {
            assert_bounded(&bytes)?;
        }

        /// Random bytes rarely contain a plausible length. A well-formed message with some changes is parsed further.
        #[test]
        fn spoilt_messages_are_read_without_a_panic_and_come_to_an_end(
            written in vec(vec((0u16..6, vec(any::<u8>(), 0..9)), 0..4), 0..3),
            last in vec(any::<u8>(), 0..9),
            spoilt in vec((any::<prop::sample::Index>(), prop_oneof![0u8..40, any::<u8>()]), 0..5),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut writer = Writer::default();
            for attributes in &written {
                writer.message(7, DUMP, 1, |writer| {
                    writer.nested(1, |writer| attributes.iter().for_each(|(kind, value)| writer.attribute(*kind, value)));
                });
            }
            // The last attribute need not be padded.
            writer.message(8, DUMP, 1, |writer| {
                writer.raw(&(ATTRIBUTE as u16 + last.len() as u16).to_ne_bytes());
                writer.raw(&[1, 0]);
                writer.raw(&last);
            });
            let mut bytes = writer.bytes().to_vec();
            for (at, byte) in spoilt {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(cut.map_or(bytes.len(), |at| at.index(bytes.len())));
            assert_bounded(&bytes)?;
        }
    }
}
