//! The resource types, and the order in which a proxy's resources change, as a table: one row for each type.
//!
//! [`Session`](crate::session::server::Session) interprets it, for the pilot's streams and for the agent's stream to
//! its Envoy. It never leaves a listener without its cluster, nor a name without its listener:
//!
//! 1. names, secrets, clusters and endpoints that are added or changed; removed names
//! 2. routes, once clusters are answered
//! 3. listeners, once all of the above but secrets is answered
//! 4. removed routes and clusters, once listeners are answered; then removed endpoints and secrets
//!
//! "Answered" is for a proxy that is Envoy. To an agent, which waits for its Envoy itself, each step follows once the one
//! before it is sent: the [`Pacing`] of a stream.
//!
//! The endpoints of a changed cluster are sent again after it, whether or not they have changed.
//!
//! Endpoints do not wait for the answer about their clusters: Envoy delays that answer until the clusters are warm,
//! which requires the endpoints. So an answer about clusters also says that they are ready for use.
//!
//! Nothing waits for secrets: Envoy asks for one when a cluster or a listener of its needs it, and warms that one until
//! the secret arrives.
//!
//! A new resource type is a variant and a row here. It comes with what makes its resources: a type that nobody makes is
//! not served.

use ResourceType::{Cluster, Endpoints, Listener, Names, Route, Secret};
use Wait::{Additions, All, Users};
use serde::{Deserialize, Serialize};

use crate::{Pacing, Resource, envoy::endpoints_of};

/// Resource types, in the order in which they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResourceType {
    /// Istio's name table (NDS): one resource per host name, so that a change costs one name.
    Names,
    /// The certificate with its key, and the roots, that Envoy uses in TLS (SDS). Each VM makes its own.
    Secret,
    /// Envoy clusters (CDS).
    Cluster,
    /// Envoy endpoints (EDS).
    Endpoints,
    /// Envoy route configurations (RDS).
    Route,
    /// Envoy listeners (LDS).
    Listener,
}

impl ResourceType {
    /// All types, in the order in which they are sent.
    pub const ALL: [Self; TABLE.len()] = kinds(Of::All);

    /// Types that pilots serve, in the same order. An agent makes the others itself, on the VM that they are for.
    pub const OF_PILOTS: [Self; 5] = kinds(Of::Pilots);

    /// The type URL on the wire.
    pub const fn url(self) -> &'static str {
        Row::of(self).url
    }

    /// The type's noun for use in a sentence.
    pub const fn noun(self) -> &'static str {
        Row::of(self).noun
    }

    /// The type of a URL; `None` for one that is not served.
    pub fn from_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.url() == url)
    }

    /// Whether pilots serve it.
    pub(crate) const fn is_of_pilots(self) -> bool {
        Row::of(self).of_pilots
    }

    /// Place among all types.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// What is to be known about a resource type.
#[derive(Debug)]
pub(crate) struct Row {
    /// The type. Its place in the table is its place in [`ResourceType`], and in the order in which types are sent.
    pub(crate) kind: ResourceType,
    /// Its URL on the wire.
    pub(crate) url: &'static str,
    /// Its noun for use in a sentence.
    pub(crate) noun: &'static str,
    /// Whether Envoy asks for it and judges it. The agent keeps the others to itself.
    pub(crate) judged: bool,
    /// Whether pilots serve it. An agent asks no pilot for the others, takes them from none, and stores none.
    pub(crate) of_pilots: bool,
    /// Whether a first request without names asks for all resources. It does not for a type that a proxy looks up by
    /// name.
    pub(crate) listed: bool,
    /// Whether each resource is sent in a response of its own, because the proxy cannot be asked about it again.
    pub(crate) alone: bool,
    /// What is over before new and changed resources are sent.
    pub(crate) additions_after: &'static [Wait],
    /// What is over before removed resources are withdrawn.
    pub(crate) withdrawals_after: &'static [Wait],
    /// Whose changes its resources follow.
    pub(crate) follows: Option<Follow>,
}

/// A resource is sent again after another that has changed, although it has not changed itself.
#[derive(Debug)]
pub(crate) struct Follow {
    /// Type of the resource that has changed.
    pub(crate) changed: ResourceType,
    /// Name of the resource that follows this one, if there is any.
    pub(crate) name: fn(&Resource) -> Option<String>,
}

/// Something that is over before a type's turn. A type that the proxy does not ask for keeps nothing waiting, unless it
/// is said otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    /// All new and changed resources of the type are answered.
    Additions(ResourceType),
    /// Everything of the type is answered.
    All(ResourceType),
    /// Everything of the type is answered, and the proxy has asked for it. A proxy that reconnects asks for the types
    /// one by one. Until it asks for those that use a resource, it may hold some that do.
    Users(ResourceType),
}

/// All rows, in the order in which types are sent.
pub(crate) const TABLE: [Row; 6] = [
    // Istio's name table (NDS). Only an agent asks for it, and decides itself when it answers a new name.
    Row {
        kind: Names,
        url: "type.googleapis.com/istio.networking.nds.v1.NameTable",
        noun: "name",
        judged: false,
        of_pilots: true,
        listed: true,
        alone: false,
        additions_after: &[],
        withdrawals_after: &[],
        follows: None,
    },
    // Envoy asks for the secrets by name. A pilot's sets have none, because a private key stays on its VM.
    //
    // A certificate that does not fit its key is rejected once. When it comes again, Envoy compares it with what it was
    // sent last, finds no change, and accepts, although it goes on with the one before (seen with 1.40).
    Row {
        kind: Secret,
        url: "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        noun: "secret",
        judged: true,
        of_pilots: false,
        listed: false,
        alone: true,
        additions_after: &[],
        withdrawals_after: &[All(Cluster), Users(Listener)],
        follows: None,
    },
    Row {
        kind: Cluster,
        url: "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        noun: "cluster",
        judged: true,
        of_pilots: true,
        listed: true,
        alone: false,
        additions_after: &[],
        withdrawals_after: &[All(Names), Additions(Cluster), Additions(Endpoints), All(Route), Users(Listener)],
        follows: None,
    },
    Row {
        kind: Endpoints,
        url: "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        noun: "endpoints",
        judged: true,
        of_pilots: true,
        listed: false,
        alone: false,
        additions_after: &[],
        withdrawals_after: &[All(Cluster), Users(Listener)],
        // Envoy makes a changed cluster anew and warms it until its endpoints arrive. It does not ask for them, because
        // it has asked for the name before, and without them it goes on with the old cluster for 15 seconds (the
        // default of `initial_fetch_timeout`).
        follows: Some(Follow { changed: Cluster, name: endpoints_of }),
    },
    // Envoy asks for one by name when it has a listener that names it. The listener waits for it.
    Row {
        kind: Route,
        url: "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        noun: "routes",
        judged: true,
        of_pilots: true,
        listed: false,
        alone: false,
        additions_after: &[Additions(Cluster)],
        withdrawals_after: &[Users(Listener)],
        follows: None,
    },
    Row {
        kind: Listener,
        url: "type.googleapis.com/envoy.config.listener.v3.Listener",
        noun: "listener",
        judged: true,
        of_pilots: true,
        listed: true,
        alone: false,
        additions_after: &[All(Names), Additions(Cluster), Additions(Endpoints), Additions(Route)],
        withdrawals_after: &[All(Names), Additions(Cluster), Additions(Endpoints), Additions(Route)],
        follows: None,
    },
];

/// Types that Envoy judges.
pub(crate) const JUDGED: [ResourceType; 5] = kinds(Of::Judged);

/// The two kinds of changes of a type, whose turns differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// New or changed resources, and the answer that a resource does not exist.
    pub additions: bool,
    /// Removed resources.
    pub withdrawals: bool,
}

/// How far a type is on one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// What is still to be sent.
    pub(crate) pending: Turn,
    /// Whether a response has not been answered.
    pub(crate) unanswered: bool,
}

impl Row {
    /// The row of a type.
    pub(crate) const fn of(kind: ResourceType) -> &'static Self {
        const ROWS: &[Row] = &TABLE;
        &ROWS[kind.index()]
    }

    /// Whether any type follows changes of this one.
    pub(crate) fn is_followed(&self) -> bool {
        TABLE.iter().filter_map(|row| row.follows.as_ref()).any(|follow| follow.changed == self.kind)
    }

    /// What the type may send now, by the progress of each type that the proxy asks for.
    pub(crate) fn turn(&self, progress: impl Fn(ResourceType) -> Option<Progress>) -> Turn {
        let over = |wait: &Wait| match *wait {
            Additions(kind) => progress(kind).is_none_or(Progress::has_added),
            All(kind) => progress(kind).is_none_or(Progress::is_done),
            Users(kind) => progress(kind).is_some_and(Progress::is_done),
        };
        Turn { additions: self.additions_after.iter().all(over), withdrawals: self.withdrawals_after.iter().all(over) }
    }
}

impl Progress {
    /// How far the type is for the types that wait for it.
    pub(crate) fn paced(self, pacing: Pacing) -> Self {
        Self { unanswered: self.unanswered && pacing == Pacing::Answered, ..self }
    }

    fn has_added(self) -> bool {
        !self.unanswered && !self.pending.additions
    }

    /// Whether everything is sent and answered.
    pub(crate) fn is_done(self) -> bool {
        self == Self::default()
    }
}

/// A selection of types.
#[derive(Clone, Copy)]
enum Of {
    All,
    Pilots,
    Judged,
}

/// The selected types in the order of their rows.
const fn kinds<const N: usize>(of: Of) -> [ResourceType; N] {
    let (mut kinds, mut found, mut row) = ([Names; N], 0, 0);
    while row < TABLE.len() {
        let Row { kind, judged, of_pilots, .. } = TABLE[row];
        assert!(kind.index() == row, "a row is not in the place of its type");
        let selected = match of {
            Of::All => true,
            Of::Pilots => of_pilots,
            Of::Judged => judged,
        };
        if selected {
            kinds[found] = kind;
            found += 1;
        }
        row += 1;
    }
    assert!(found == N, "another number of types");
    kinds
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
