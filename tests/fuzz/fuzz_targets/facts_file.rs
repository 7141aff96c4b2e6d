//! Reads an arbitrary file of the pilot's facts, and an arbitrary body with a matching checksum. Facts that are
//! accepted are unchanged by writing and reading them again.
#![no_main]

use boshy_actors::fuzzing::facts;
use boshy_fuzz::sealed;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    let files = [octets.to_vec(), sealed("boshy-inventory", octets)];
    for written in files.iter().filter_map(|file| facts(file)) {
        assert_eq!(facts(&written).as_deref(), Some(&*written));
    }
});
