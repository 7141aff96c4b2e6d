//! Parses the text of a runtime or cloud config. Problems repeat no value of the config, because values may be secrets.
#![no_main]

use boshy_director::manifest::{RuntimeConfig, cloud_networks};
use boshy_yaml::Limits;
use libfuzzer_sys::fuzz_target;

/// A value that no problem may repeat. The corpus contains it in many places.
const SECRET: &str = "hunter2";

fuzz_target!(init: boshy_fuzz::let_the_yaml_library_panic(), |text: &str| {
    let config = RuntimeConfig::read("default", text, &Limits::default());
    for problem in config.problems() {
        let problem = problem.to_string();
        assert!(problem.starts_with("runtime config \"default\""), "{problem}");
    }
    if let Err(error) = cloud_networks(text, &Limits::default()) {
        assert!(!error.to_string().contains(SECRET), "{error}");
    }
});
