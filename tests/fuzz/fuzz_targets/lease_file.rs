//! Reads an arbitrary file of the pilot's leases, and an arbitrary body with a matching checksum. Leases that are
//! accepted are unchanged by writing and reading them again.
#![no_main]

use boshy_actors::fuzzing::leases;
use boshy_state::Format;
use libfuzzer_sys::fuzz_target;

const FORMAT: Format = Format { name: "boshy-leases", version: 1 };

fuzz_target!(|octets: &[u8]| {
    let files = [octets.to_vec(), FORMAT.seal(octets)];
    for written in files.iter().filter_map(|file| leases(file)) {
        assert_eq!(leases(&written).as_deref(), Some(&*written));
    }
});
