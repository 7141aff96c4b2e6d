//! BOSH links: which job of which instance group consumes what another one provides.

use serde::{Deserialize, Serialize};

/// Links of a deployment, as the director knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeploymentLinks {
    /// What its jobs provide.
    pub provided: Vec<ProvidedLink>,
    /// What its jobs consume.
    pub consumed: Vec<ConsumedLink>,
}

/// A link that a job provides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProvidedLink {
    /// Id, unique in the director.
    pub id: String,
    /// Name in the manifest.
    pub name: String,
    /// Instance group.
    pub group: String,
    /// Job.
    pub job: String,
}

/// A link that a job consumes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConsumedLink {
    /// Instance group of the consumer.
    pub group: String,
    /// Id of the link's provider, which may be of another deployment.
    pub provider: String,
}
