//! The pilot's facts, as somebody left them: the whole file, and a body with the checksum that belongs to it. What is read comes back as it was written.
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
