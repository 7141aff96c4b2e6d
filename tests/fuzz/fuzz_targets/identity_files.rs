//! Reads an arbitrary file of a VM's identity and of the pilot's keys of VMs, and an arbitrary content with a matching
//! header. What is accepted is unchanged by writing and reading it again.
#![no_main]

use boshy_actors::fuzzing::{identity, keys_of_vms};
use boshy_state::Format;
use libfuzzer_sys::fuzz_target;

type Read = fn(&[u8]) -> Option<Vec<u8>>;
const FILES: [(&str, Read); 2] = [("boshy-identity", identity), ("boshy-identities", keys_of_vms)];

fuzz_target!(|octets: &[u8]| {
    for (name, read) in FILES {
        for file in [octets.to_vec(), Format { name, version: 1 }.seal(octets)] {
            if let Some(written) = read(&file) {
                assert_eq!(read(&written).as_deref(), Some(&*written));
            }
        }
    }
});
