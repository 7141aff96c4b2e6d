//! Reads a config of policies. An accepted one can be asked about any caller, and Envoy's part of it can be made. A
//! refused one says why, with a place in the text.
#![no_main]

use boshy_mesh::{
    AppliedConfig, Caller, MtlsMode, Origin, Policies, PolicyConfig, SpiffeId, TrustDomain, WrittenConfig,
};
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
    let identity = SpiffeId::new(&TrustDomain::default(), "shop", "web").unwrap();
    let address = "10.9.0.1/32".parse().unwrap();
    let certified = Caller { identity: Some(identity), address: Some(address) };
    let callers = [certified, Caller::from(address)];
    for (deployment, group, job) in [("shop", "db", "mysql"), ("bank", "web", "nginx")] {
        let origin = Origin { deployment: deployment.into(), group: group.into(), job: job.into() };
        assert!(policies.mode(&origin, 3306).is_none_or(|mode| mode <= MtlsMode::Strict));
        if let Some(authorization) = policies.authorization(&origin, 3306) {
            for caller in &callers {
                assert!(!authorization.enforced.decide(caller).to_string().is_empty());
            }
            let in_plaintext = authorization.by_address();
            assert!(in_plaintext.is_none_or(|authorization| authorization.networks().next().is_some()));
        }
    }
}
