//! The sample deployment as the repository has it, and variations of it.

use std::sync::LazyLock;

/// Five apricots and three bananas.
pub(crate) static SAMPLE: LazyLock<String> =
    LazyLock::new(|| include_str!("../../../manifests/sample-bosh-manifest.yml").to_owned());

/// The sample with this number of instances.
pub(crate) fn sample(apricots: usize, bananas: usize) -> String {
    let (apricot, banana) = SAMPLE.split_at(SAMPLE.find("- name: banana").unwrap());
    let scaled = |group: &str, from: &str, to: usize| group.replace(from, &format!("instances: {to}"));
    scaled(apricot, "instances: 5", apricots) + &scaled(banana, "instances: 3", bananas)
}

/// Two apricots and two bananas: enough where only one of each is disturbed.
pub(crate) fn small() -> String {
    sample(2, 2)
}

/// Another deployment: two cherries.
pub(crate) fn orchard() -> String {
    orchard_of("cherry")
}

/// The same with another name of its group.
pub(crate) fn orchard_of(group: &str) -> String {
    let (head, groups) = SAMPLE.split_once("instance_groups:").unwrap();
    let banana = &groups[groups.find("- name: banana").unwrap()..];
    let cherry = banana.replace("name: banana", &format!("name: {group}")).replace("instances: 3", "instances: 2");
    format!("{head}instance_groups:\n{cherry}").replace("sample-deployment", "orchard").replace("9002", "9003")
}

/// A service of these deployments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Service {
    pub(crate) host: &'static str,
    pub(crate) port: u16,
    /// Instances that may answer for it.
    pub(crate) group: &'static str,
}

pub(crate) const APRICOT: Service =
    Service { host: "example-httpbin.apricot.sample-deployment.boshy", port: 9001, group: "apricot" };
pub(crate) const BANANA: Service =
    Service { host: "example-httpbin.banana.sample-deployment.boshy", port: 9002, group: "banana" };
pub(crate) const CHERRY: Service =
    Service { host: "example-httpbin.cherry.orchard.boshy", port: 9003, group: "cherry" };
