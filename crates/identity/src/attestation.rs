//! Who may have a certificate: what a connection proves, against the director's facts.
//!
//! | presented | key of the request | answer |
//! |---|---|---|
//! | the instance's own certificate, valid | any | issued |
//! | another instance's certificate | any | refused |
//! | the deployment's certificate | first one for this agent id | issued, remembered |
//! | the deployment's certificate | the remembered one | issued |
//! | the deployment's certificate | that of the instance's latest certificate, newer than the remembered one | issued |
//! | the deployment's certificate | another one | refused |
//!
//! Where the VM's BOSH agent has to vouch for a request ([`BoshAgents`](crate::BoshAgents)), the last four rows are these:
//!
//! | presented | vouched for by | answer |
//! |---|---|---|
//! | the deployment's certificate | the BOSH agent of the VM at the address | issued, remembered |
//! | the deployment's certificate | that of another VM, or nobody | refused |
//!
//! All instances of a deployment have the deployment's certificate, so it does not say which of them asks: the source
//! address does. Who takes over an address cannot get a certificate of an instance that has one, because it lacks the
//! key. A VM that the director makes anew has another agent id, and begins again. One that has lost its key begins again
//! when an operator says so ([`Register::forget`]).
//!
//! Pilots of the same authority certify keys of one VM in turn. A pilot hears of a key that another one has certified when
//! the VM shows its certificate on a connection ([`Register::lacks`]), or its latest one, which may have expired, beside a
//! request.

use std::collections::BTreeMap;

use boshy_mesh::{Timestamp, Workload};
use serde::{Deserialize, Serialize};

use crate::{KeyHash, Leaf, WorkloadNames};

/// The key of the latest certificate of each VM, by agent id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Register(BTreeMap<String, KnownKey>);

/// The key of a VM's latest certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownKey {
    /// Id of the VM's instance, for operators.
    pub instance: String,
    /// The key.
    pub key: KeyHash,
    /// When the certificate was issued.
    pub issued: Timestamp,
    /// When it ends.
    pub end: Timestamp,
    /// Fingerprint of the certificate that has issued it; `None` in a file of an earlier version.
    #[serde(default)]
    pub issuer: Option<String>,
}

/// What is known of a request.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The workload that has the source address.
    pub workload: &'a Workload,
    /// Its names.
    pub names: &'a WorkloadNames,
    /// The DNS name in the workload's certificate that was presented; `None` for the deployment's certificate.
    pub presented: Option<&'a str>,
    /// Key of the request.
    pub key: KeyHash,
    /// The latest certificate of the sender, verified but perhaps expired.
    pub latest: Option<&'a Leaf>,
}

/// Why a request is not that of the workload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAttested {
    /// The director does not say which VM the instance has.
    #[error("the director gives no agent id for instance {0}")]
    NoAgentId(String),
    /// The certificate that was presented is another instance's.
    #[error("the certificate of {presented} was presented from an address of {expected}")]
    AnotherInstance {
        /// DNS name in the certificate.
        presented: String,
        /// DNS name of the workload at the address.
        expected: String,
    },
    /// The BOSH agent of another VM vouches for the request.
    #[error("the BOSH agent of the VM {vouched} vouches for a request from an address of the VM {expected}")]
    AnotherVm {
        /// Agent id of the VM that vouches.
        vouched: String,
        /// Agent id of the VM at the address.
        expected: String,
    },
    /// The VM has a certificate of another key.
    #[error(
        "the VM {agent_id} of instance {instance} has had a certificate of another key; if that key is lost, run \
         `boshy identity allow {instance}` on the VM of each pilot, or recreate the VM"
    )]
    AnotherKey {
        /// The VM's agent id.
        agent_id: String,
        /// Its instance.
        instance: String,
    },
}

/// Decides about a request that shows the deployment's certificate, by the agent id of the VM whose BOSH agent vouches
/// for it. Returns the agent id of the workload's VM.
///
/// # Errors
/// When it is another VM.
pub fn attest_vouched<'a>(workload: &'a Workload, vouched: &str) -> Result<&'a str, NotAttested> {
    let agent_id = workload.agent_id.as_deref().ok_or_else(|| NotAttested::NoAgentId(workload.id.clone()))?;
    if agent_id == vouched {
        return Ok(agent_id);
    }
    let (vouched, expected) = (vouched.to_owned(), agent_id.to_owned());
    Err(NotAttested::AnotherVm { vouched, expected })
}

impl Register {
    /// Decides about a request. Returns the agent id of the workload's VM.
    ///
    /// # Errors
    /// Why it is not the workload's.
    pub fn attest<'a>(&self, claim: Claim<'a>) -> Result<&'a str, NotAttested> {
        let Claim { workload, names, presented, key, latest } = claim;
        let agent_id = workload.agent_id.as_deref().ok_or_else(|| NotAttested::NoAgentId(workload.id.clone()))?;
        if let Some(presented) = presented {
            return if presented == names.dns_name {
                Ok(agent_id)
            } else {
                let (presented, expected) = (presented.to_owned(), names.dns_name.clone());
                Err(NotAttested::AnotherInstance { presented, expected })
            };
        }
        let Some(known) = self.0.get(agent_id) else { return Ok(agent_id) };
        let is_newer = |latest: &Leaf| {
            latest.key == key
                && latest.dns_name.as_deref() == Some(&names.dns_name)
                && latest.spiffe_id.domain() == names.spiffe_id.domain()
                && latest.not_after > known.end
        };
        if known.key == key || latest.is_some_and(is_newer) {
            Ok(agent_id)
        } else {
            let (agent_id, instance) = (agent_id.to_owned(), workload.id.clone());
            Err(NotAttested::AnotherKey { agent_id, instance })
        }
    }

    /// Remembers the key of a VM's latest certificate.
    pub fn record(&mut self, agent_id: &str, known: KnownKey) {
        self.0.insert(agent_id.to_owned(), known);
    }

    /// Whether this key is not known: that of a certificate with which a VM has made a connection, so it has the key. A
    /// certificate that was issued before the known one says nothing new.
    pub fn lacks(&self, agent_id: &str, shown: &KnownKey) -> bool {
        self.0.get(agent_id).is_none_or(|known| known.key != shown.key && known.issued < shown.issued)
    }

    /// Forgets the keys of an instance's VMs, so that each may have another one. Returns how many there were.
    pub fn forget(&mut self, instance: &str) -> usize {
        let before = self.0.len();
        self.0.retain(|_, known| known.instance != instance);
        before - self.0.len()
    }

    /// Forgets VMs that the director does not list any more. One whose certificate is valid is kept: the director may
    /// have left it out for a moment.
    pub fn prune(&mut self, is_listed: impl Fn(&str) -> bool, now: Timestamp) {
        self.0.retain(|agent_id, known| known.end >= now || is_listed(agent_id));
    }

    /// What has issued the certificate of each instance that has one at this time, by the instance's id.
    pub fn issuers(&self, now: Timestamp) -> BTreeMap<String, Option<String>> {
        let valid = self.0.values().filter(|known| known.end >= now);
        valid.map(|known| (known.instance.clone(), known.issuer.clone())).collect()
    }

    /// The key that is remembered for a VM.
    pub fn get(&self, agent_id: &str) -> Option<&KnownKey> {
        self.0.get(agent_id)
    }

    /// Number of VMs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no VM is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
