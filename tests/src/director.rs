//! The embedded director over HTTPS.

use std::{collections::BTreeMap, net::TcpListener};

use boshy_director::embedded::{EmbeddedDirector, EmbeddedSettings, Fault, Handle, LAB_CLOUD_CONFIG, World};

use crate::{Manifest, PilotPlan, until};

/// Route of the list of deployments.
const LIST: &str = "GET /deployments";

/// A running director. Verbs that change it take effect at once.
pub struct Director(Handle);

impl Director {
    /// A director without deployments.
    ///
    /// # Panics
    /// When it does not start, as every verb here when what it asks for is refused.
    pub fn start() -> Self {
        let world = World::new(LAB_CLOUD_CONFIG, true, 1).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self(EmbeddedDirector::start(listener, EmbeddedSettings::default(), world).unwrap())
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

    /// Deploys.
    pub fn deploys(&self, manifest: &Manifest) -> &Self {
        self.0.deploy(&manifest.text()).unwrap();
        self
    }

    /// Shows a text as the manifest that it would refuse in a deploy.
    pub fn shows_manifest(&self, deployment: &str, text: &str) -> &Self {
        self.0.replace_manifest(deployment, text).unwrap();
        self
    }

    /// Shows these lines as the instances of a deployment, and that something has changed there.
    pub fn shows_instances(&self, deployment: &str, rows: serde_json::Value) -> &Self {
        let rows = rows.as_array().unwrap().clone();
        self.0.show_instances(deployment, rows).unwrap();
        self
    }

    /// Deletes.
    pub fn deletes(&self, deployment: &str) -> &Self {
        self.0.delete(deployment).unwrap();
        self
    }

    /// Makes every request go wrong.
    pub fn fails(&self, fault: Fault) -> &Self {
        self.0.inject(fault);
        self
    }

    /// Lists no deployments any more.
    pub fn lists_nothing(&self) -> &Self {
        self.0.inject_on(LIST, Fault::EmptyList, None);
        self
    }

    /// Makes the next lists of deployments go wrong.
    pub fn lists_with(&self, fault: Fault, times: u32) -> &Self {
        self.0.inject_on(LIST, fault, Some(times));
        self
    }

    /// Ends all that goes wrong.
    pub fn heals(&self) -> &Self {
        self.0.heal();
        self
    }

    /// How often the deployments were asked for.
    pub fn lists(&self) -> u64 {
        self.0.requests().get(LIST).copied().unwrap_or_default()
    }

    /// Waits until the deployments were asked for so many times more.
    pub fn is_polled(&self, rounds: u64) -> &Self {
        let before = self.lists();
        until("the director is polled", || self.lists(), |lists| *lists >= before + rounds);
        self
    }

    /// Requests by route since an earlier look.
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
