//! Reads an arbitrary file of the pilot's facts, and an arbitrary body with a matching checksum. Facts that are
//! accepted are unchanged by writing and reading them again.
#![no_main]

use boshy_actors::fuzzing::facts;
use boshy_state::Format;
use libfuzzer_sys::fuzz_target;

const FORMAT: Format = Format { name: "boshy-inventory", version: 1 };

fuzz_target!(|octets: &[u8]| {
    let files = [octets.to_vec(), FORMAT.seal(octets)];
    for written in files.iter().filter_map(|file| facts(file)) {
        assert_eq!(facts(&written).as_deref(), Some(&*written));
    }
});
