//! Reads an arbitrary file of the agent's state, and an arbitrary payload with a matching header. A state that is
//! accepted is unchanged by writing and reading it again.
#![no_main]

use boshy_xds::agent::relay::Stored;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

fuzz_target!(|octets: &[u8]| {
    // The header of an empty state, with the length and checksum of this payload.
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
