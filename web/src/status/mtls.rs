//! What the pilot shows of identities and of mutual TLS.

use std::{collections::BTreeMap, net::IpAddr};

use boshy_mesh::{Heard, Hostname, Moment, MtlsMode, Stage, TrustDomain};
use serde::Serialize;

use crate::Page;

/// Certificates of workloads, and who was refused one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IdentityStatus {
    /// The mesh's trust domain.
    pub trust_domain: TrustDomain,
    /// Who says which VM asks for its first certificate.
    pub attestation: Attestation,
    /// When the authority, or an issuer of it, expires. `null` once it has.
    pub authority_end: Option<u64>,
    /// VMs whose key is remembered.
    pub known: u64,
    /// Certificates issued since the process began.
    pub issued: u64,
    /// Refused requests since the process began, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// The latest refusals, newest last.
    pub latest_refusals: Vec<RefusedRequest>,
}

/// Who says which VM asks for its first certificate, as the property `identity.attestation` of the job has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attestation {
    /// The deployment's certificate, the VM's address, and the first key of its agent id.
    Deployment,
    /// The deployment's certificate, the VM's address, and the VM's BOSH agent.
    BoshAgent,
}

/// How far mutual TLS is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MtlsStatus {
    /// The mode of the mesh, as in the settings.
    pub mode: MtlsMode,
    /// Ports that are not yet where their mode leads.
    pub changing: Vec<ChangeStatus>,
    /// Ids of the instances whose agents were there before this pilot started, and are waited for.
    pub awaited: Vec<String>,
}

/// A port that is on its way to its mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangeStatus {
    /// Name of the service.
    pub host: Hostname,
    /// Number of the port.
    pub port: u16,
    /// How far it is.
    pub stage: Stage,
    /// The mode that it is to have.
    pub wanted: MtlsMode,
}

/// What an agent reports of its VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReportStatus {
    /// Id of the instance.
    pub instance: String,
    /// Whether its Envoy accepts tunnels.
    pub able: bool,
    /// Whether it is about to stop.
    pub stopping: bool,
    /// SHA-256 of the authority's certificate that has issued the VM's.
    pub issuer: Option<String>,
    /// SHA-256 of each root that it trusts.
    pub roots: Vec<String>,
    /// Seconds since it was last heard.
    pub age: u64,
}

/// A request that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedRequest {
    /// When.
    pub at: u64,
    /// Source address.
    pub address: IpAddr,
    /// Why, in words.
    pub reason: String,
}

impl ReportStatus {
    /// What is shown of a report at a moment.
    pub fn new(instance: &str, heard: &Heard, now: Moment) -> Self {
        let report = &heard.report;
        Self {
            instance: instance.to_owned(),
            able: report.able,
            stopping: report.stopping,
            issuer: report.issuer.clone(),
            roots: report.roots.iter().cloned().collect(),
            age: now.since(heard.at).as_secs(),
        }
    }
}

impl IdentityStatus {
    pub(super) fn measure(&self, page: &mut Page) {
        let end = self.authority_end.map(|end| (Vec::new(), end));
        page.gauges("identity_authority_end_timestamp_seconds", "When the certificate authority expires", end);
        page.gauge("identity_vms_known", "VMs whose key is remembered", self.known);
        page.counter("certificates_issued", "Certificates issued to workloads", self.issued);
        let refused = self.refused.iter().map(|(reason, count)| (vec![("reason", (*reason).to_owned())], *count));
        page.counters("certificates_refused", "Requests for certificates that were refused, by reason", refused);
    }
}
