//! Parses a manifest. An accepted one obeys the rules of the mesh. An error repeats no value of the manifest, because
//! values may be secrets. The memory limit of the run bounds its memory.
#![no_main]

use std::collections::BTreeSet;

use boshy_director::manifest;
use boshy_mesh::InstanceGroup;
use boshy_yaml::Limits;
use libfuzzer_sys::fuzz_target;

/// A value that no error may repeat. The corpus contains it in many places.
const SECRET: &str = "hunter2";

fuzz_target!(init: boshy_fuzz::let_the_yaml_library_panic(), |text: &str| {
    match manifest::read("shop", text, &Limits::default()) {
        Ok(written) => match written.check() {
            Ok(groups) => {
                assert_eq!(groups.len(), written.groups.len());
                groups.iter().for_each(sound);
            }
            Err(problems) => {
                assert!(!problems.is_empty(), "refused without a problem");
                assert!(problems.iter().all(|problem| problem.to_string().contains("shop")));
            }
        },
        Err(error) => assert!(!error.to_string().contains(SECRET), "{error}"),
    }
});

fn sound(group: &InstanceGroup) {
    for job in &group.jobs {
        let names: BTreeSet<_> = job.ports.iter().map(|port| &port.name).collect();
        let numbers: BTreeSet<_> = job.ports.iter().map(|port| port.number).collect();
        assert!(names.len() == job.ports.len() && numbers.len() == job.ports.len(), "{:?}", job.ports);
        assert!(!numbers.contains(&0), "{:?}", job.ports);
    }
}
