//! The domain of the mesh, and nothing else: no I/O, no async, no clock, no wire format.
//!
//! ```text
//!   WrittenDeployment --check--> Deployment ─┐
//!   (as the manifest says)       (facts)     │            names + range + clock
//!                                            v                     │
//!   Inventory (all deployments) --discover--> Claims               v
//!                                     └──────────────> Leases::reconcile
//!                          services, workloads                     │
//!                                            │                     │
//!                                            └──> MeshSnapshot <───┘
//!                                     (plans of services and workloads)
//! ```
//!
//! Every rule about what is valid lives here, so that it can be tested as a function of values. The readers of
//! manifests (`boshy-director`), the writer of leases (`boshy-actors`) and the renderer for Envoy (`boshy-xds`) depend
//! on this crate. It depends on none of them.

mod address;
mod config;
mod deployment;
mod discovery;
mod group;
mod ingress;
mod instance;
mod join;
mod label;
mod lease;
mod lease_table;
mod links;
mod mode;
mod moves;
mod mtls;
mod names;
mod node;
mod plan;
mod policy;
mod port;
mod problem;
mod range;
mod reconcile;
mod report;
mod residents;
mod service;
mod share;
mod shared;
mod shortage;
mod snapshot;
mod spiffe;
mod stage;
mod stages;
mod stops;
mod time;
mod trust;
mod verdict;
mod withdrawal;
mod workload;
mod workloads;

pub use address::Address;
pub use config::{CONFIG_TYPE, WrittenConfig};
pub use deployment::{
    Deployment, Inventory, Written, WrittenDeployment, WrittenGroup, WrittenJob, WrittenPort, WrittenPortEntry,
    WrittenPorts,
};
pub use discovery::{Discovery, discover};
pub use group::{GroupNetwork, InstanceGroup, Job, Lifecycle};
pub use ingress::{Fallback, INGRESS_PORT, Ingress, NEVER_CAPTURED, ORIGINAL_SRC_MARK};
pub use instance::{CloudNetwork, Instance, Recorded};
pub use label::{Hostname, Label, LabelError, Tld};
pub use lease::{EARLIEST_REUSE, Lease, LeaseConflict, LeaseState, Leases};
pub use lease_table::{AgreedLease, LeaseTable, Unclaimed};
pub use links::{ConsumedLink, DeploymentLinks, ProvidedLink};
pub use mode::MtlsMode;
pub use moves::{Moves, PATIENCE, RETURN};
pub use mtls::{MESH_PORT, MeshRules, MtlsRules, Tunnel};
pub use names::{ANSWER_TTL, NameTable};
pub use node::{NodeId, NodeIdError, NodeKind};
pub use plan::{InboundPort, ServicePlan, WorkloadPlan};
pub use policy::{
    Action, AppliedConfig, Authorization, AuthorizationPolicy, Caller, Decision, DocumentKind, DocumentName, Documents,
    FromLinks, NetworkError, Operation, Pattern, PatternError, PeerAuthentication, Policies, PolicyConfig,
    PolicyOfPort, PolicySet, PortMode, Rule, RuleName, RuleOfPort, Scope, Source, network,
};
pub use port::{Port, PortName, Protocol, ServiceKey};
pub use problem::{ConfigName, Place, Position, Problem};
pub use range::{RangeError, VipRange};
pub use reconcile::{Claim, Claims, LeaseRefusal, LeaseRules, Reconciled, Shortage};
pub use report::{AgentReport, HEARTBEAT, Heard, REPORT_LIFE, ReportTable};
pub use service::{Endpoint, Origin, Service};
pub use share::{ShareError, VipShare};
pub use shared::Shared;
pub use snapshot::{MeshSnapshot, SnapshotContent};
pub use spiffe::{SpiffeError, SpiffeId, TrustDomain};
pub use stage::{Stage, Standing};
pub use stages::Stages;
pub use stops::Stops;
pub use time::{Moment, Timestamp};
pub use trust::{AuthorityCertificate, InstanceTrust, MeshAuthority, RootStanding, RotationStep, TrustStanding};
pub use verdict::{Answer, QuestionError, Verdict, caller};
pub use withdrawal::Withdrawals;
pub use workload::{AvailabilityZone, NetworkAddress, Workload};
pub use workloads::Workloads;
