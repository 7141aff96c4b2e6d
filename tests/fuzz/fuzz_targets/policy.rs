//! Reads a config of policies. An accepted one can be asked about any caller, and Envoy's part of it can be made. A
//! refused one says why, with a place in the text.
#![no_main]

use boshy_mesh::{MtlsMode, Origin, Policies, PolicyConfig, AppliedConfig, SpiffeId, TrustDomain, WrittenConfig};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: boshy_fuzz::let_the_yaml_library_panic(), |text: &str| {
    match boshy_policy::read(&WrittenConfig { name: "net".into(), content: text.into() }) {
        Ok(documents) => {
            let applied = Some(AppliedConfig { version: "1".into(), documents });
            let config = PolicyConfig { name: "net".into(), latest: "1".into(), applied, problems: Vec::new() };
            asked(&Policies::of(&[config]));
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a problem");
            assert!(problems.iter().all(|problem| problem.place.config.is_some()));
        }
    }
});

fn asked(policies: &Policies) {
    let caller = SpiffeId::new(&TrustDomain::default(), "shop", "web").unwrap();
    for (deployment, group, job) in [("shop", "db", "mysql"), ("bank", "web", "nginx")] {
        let origin = Origin { deployment: deployment.into(), group: group.into(), job: job.into() };
        assert!(policies.mode(&origin, 3306).is_none_or(|mode| mode <= MtlsMode::Strict));
        if let Some(authorization) = policies.authorization(&origin, 3306) {
            assert!(!authorization.enforced.decide(&caller).to_string().is_empty());
        }
    }
}
