//! The agent's state, as somebody left it: the whole file, and a payload with the header that belongs to it. What is read comes back as it was
//! written.
#![no_main]

use boshy_xds::relay::Stored;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

fuzz_target!(|octets: &[u8]| {
    // The header of a state without content, with the length and checksum of this one.
    let empty = Stored::default().encode();
    let magic = &empty[..empty.len() - 8 - 32];
    let length = (octets.len() as u64).to_be_bytes();
    let whole = [magic, &length, &Sha256::digest(octets)[..], octets].concat();
    for file in [octets.to_vec(), whole] {
        if let Ok(stored) = Stored::decode(&Bytes::from(file)) {
            let written = stored.encode();
            let again = Stored::decode(&written).expect("it was written a moment ago");
            assert_eq!(again.encode(), written);
        }
    }
});
