//! Reads an arbitrary file of the agent's state, and an arbitrary content with a matching header, of today and of the
//! first release. A state that is accepted is unchanged by writing and reading it again.
#![no_main]

use boshy_state::Format;
use boshy_xds::agent::relay::Stored;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

const FORMAT: Format = Format { name: "boshy-relay", version: 1 };

fuzz_target!(|octets: &[u8]| {
    let first = [b"BOSHYVM\n\0\0\0\x01", &(octets.len() as u64).to_be_bytes()[..], &Sha256::digest(octets), octets];
    for file in [octets.to_vec(), FORMAT.seal(octets), first.concat()] {
        if let Ok(stored) = Stored::decode(&Bytes::from(file)) {
            let written = stored.encode();
            let again = Stored::decode(&written).expect("it was written a moment ago");
            assert_eq!(again.encode(), written);
        }
    }
});
