//! Reads an arbitrary answer from the port of Envoy's admin interface, which another process may hold. An answer that
//! is accepted has no differences from itself.
#![no_main]

use boshy_xds::{
    Flavour, Layer, Resource, ResourceMap, ResourceSet, ResourceType, TypedResources,
    inspection::{INSPECTED, differences, read},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|answer: &[u8]| {
    for (kind, _) in INSPECTED {
        let Ok(found) = read(kind, answer) else { continue };
        let resource = |(name, version): (&String, &String)| {
            let resource = Resource { version: version.as_str().into(), ..Resource::new(name.as_str(), "") };
            (resource.name.clone(), resource.into())
        };
        let map: ResourceMap = found.iter().map(resource).collect();
        let set = ResourceSet::default().with(kind, TypedResources::new([Layer::new(map)]));
        let accepted = |name: &str| found.get(name).map(|version| version.as_str().into());
        assert_eq!(differences(kind, Flavour::Delta, &set, accepted, &found), []);
        let nothing = ResourceSet::default().with(kind, TypedResources::new([Layer::default()]));
        let left_over = differences(kind, Flavour::Sotw, &nothing, |_| None, &found);
        assert_eq!(left_over.len(), found.len());
        assert!(left_over.iter().all(|one| one.kind != ResourceType::Names && !one.sentence().is_empty()));
    }
});
