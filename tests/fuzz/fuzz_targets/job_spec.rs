//! Parses a job's specification. An error has one of a director's codes for errors of jobs.
#![no_main]

use boshy_fuzz::sound;
use boshy_lab_director::release::JobSpec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: boshy_fuzz::let_the_yaml_library_panic(), |text: &str| {
    match JobSpec::parse("web", text) {
        Ok(spec) => sound(&spec),
        Err(error) => assert!((80_000..90_000).contains(&error.code()), "{error}"),
    }
});
