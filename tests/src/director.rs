//! The embedded director over HTTPS.

use std::{collections::BTreeMap, net::TcpListener};

use boshy_lab_director::{Authentication, EmbeddedDirector, EmbeddedSettings, Fault, Handle, LAB_CLOUD_CONFIG, World};

use crate::{Manifest, PilotPlan, until};

/// Route of the list of deployments.
const LIST: &str = "GET /deployments";

/// A running director. Methods that change it take effect at once.
pub struct Director(Handle);

impl Director {
    /// A director without deployments.
    ///
    /// # Panics
    /// When it does not start. Every method here panics when its request is refused.
    pub fn start() -> Self {
        Self::asking(EmbeddedSettings::default().authentication)
    }

    /// A director with this authentication.
    ///
    /// # Panics
    /// When it does not start.
    pub fn asking(authentication: Authentication) -> Self {
        let world = World::new(LAB_CLOUD_CONFIG, true, 1).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let settings = EmbeddedSettings { authentication, ..EmbeddedSettings::default() };
        Self(EmbeddedDirector::start(listener, settings, world).unwrap())
    }

    /// A director with these deployments.
    pub fn with<const N: usize>(manifests: [Manifest; N]) -> Self {
        let director = Self::start();
        for manifest in manifests {
            director.deploys(&manifest);
        }
        director
    }

    /// A pilot that reads this director.
    pub fn pilot(&self) -> PilotPlan {
        PilotPlan::reading(&self.0)
    }

    /// Deploys a manifest.
    pub fn deploys(&self, manifest: &Manifest) -> &Self {
        self.0.deploy(&manifest.text()).unwrap();
        self
    }

    /// Shows a text as a deployment's manifest that it would refuse in a deploy.
    pub fn shows_manifest(&self, deployment: &str, text: &str) -> &Self {
        self.0.replace_manifest(deployment, text).unwrap();
        self
    }

    /// Shows these rows as the instances of a deployment, and reports a change there.
    pub fn shows_instances(&self, deployment: &str, rows: &serde_json::Value) -> &Self {
        let rows = rows.as_array().unwrap().clone();
        self.0.show_instances(deployment, rows).unwrap();
        self
    }

    /// Stores a version of a config.
    pub fn configures(&self, kind: &str, name: &str, content: &str) -> &Self {
        self.0.configure(kind, name, content).unwrap();
        self
    }

    /// Deletes a deployment.
    pub fn deletes(&self, deployment: &str) -> &Self {
        self.0.delete(deployment).unwrap();
        self
    }

    /// Deletes all versions of a config.
    pub fn deletes_config(&self, kind: &str, name: &str) -> &Self {
        self.0.delete_config(kind, name);
        self
    }

    /// Waits until there is a config of this name.
    pub fn has_config(&self, kind: &str, name: &str) -> &Self {
        until("the config is there", || self.0.has_config(kind, name), |found| *found);
        self
    }

    /// Makes every request fail.
    pub fn fails(&self, fault: Fault) -> &Self {
        self.0.inject(fault);
        self
    }

    /// Makes the next requests of a route, or of one method and path, fail; without a number, all of them.
    pub fn fails_at(&self, route: &str, fault: Fault, times: Option<u32>) -> &Self {
        self.0.inject_on(route, fault, times);
        self
    }

    /// Grants an account exactly these scopes from now on. Its tokens become invalid.
    pub fn grants(&self, account: &str, scopes: &[&str]) -> &Self {
        self.0.grant(account, scopes);
        self.0.revoke_tokens();
        self
    }

    /// Makes a team the owner of a deployment.
    pub fn gives(&self, deployment: &str, team: &str) -> &Self {
        self.0.give(deployment, team);
        self
    }

    /// Stops recording events.
    pub fn stops_recording_events(&self) -> &Self {
        self.0.record_events(false);
        self
    }

    /// Lists no deployments any more.
    pub fn lists_nothing(&self) -> &Self {
        self.0.inject_on(LIST, Fault::EmptyList, None);
        self
    }

    /// Makes the next lists of deployments fail.
    pub fn lists_with(&self, fault: Fault, times: u32) -> &Self {
        self.0.inject_on(LIST, fault, Some(times));
        self
    }

    /// Ends all faults.
    pub fn heals(&self) -> &Self {
        self.0.heal();
        self
    }

    /// Number of requests for the list of deployments.
    pub fn lists(&self) -> u64 {
        self.0.requests().get(LIST).copied().unwrap_or_default()
    }

    /// Waits until the deployments were requested this number of times more.
    pub fn is_polled(&self, rounds: u64) -> &Self {
        let before = self.lists();
        until("the director is polled", || self.lists(), |lists| *lists >= before + rounds);
        self
    }

    /// Requests by route since an earlier count.
    pub fn requests_since(&self, before: &BTreeMap<&'static str, u64>) -> BTreeMap<&'static str, u64> {
        let mut requests = self.requests();
        for (route, count) in &mut requests {
            *count -= before.get(route).copied().unwrap_or_default();
        }
        requests.retain(|_, count| *count > 0);
        requests
    }

    /// Requests by route.
    pub fn requests(&self) -> BTreeMap<&'static str, u64> {
        self.0.requests()
    }
}
