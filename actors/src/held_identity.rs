//! What a VM holds of its identity: the certificate with its key, and the key that the next certificate is asked for
//! with. The file in which both outlive a process, and what to ask for when, are decided here.
//!
//! A pilot that does not know the VM by a valid certificate answers only for the key that it answered for last. An
//! answer may have been lost, so that key is either the pending one or the current one. Neither leaves the disk before
//! another one has its place, and a request that is refused for one is made for the other.

use std::{collections::BTreeSet, sync::Arc};

use boshy_identity::{Chain, ChainError, KeyError, Leaf, LeafError, PrivateKey, TrustBundle};
use boshy_mesh::Timestamp;
use boshy_state::{Format, SealError};
use boshy_web::status::CertificateStatus;
use boshy_xds::Secrets;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

const FORMAT: Format = Format { name: "boshy-identity", version: 1 };

/// See the module's documentation. Clones share the keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    issued: Option<Arc<Issued>>,
    pending: Option<Arc<PrivateKey>>,
}

/// A certificate that was checked, with its key.
#[derive(Debug)]
pub(crate) struct Issued {
    key: Arc<PrivateKey>,
    chain: Chain,
    /// What the certificate says.
    pub(crate) leaf: Leaf,
    /// When to ask for the next one.
    pub(crate) renew_at: Timestamp,
    /// Fingerprints of the roots that this VM trusts.
    pub(crate) roots: BTreeSet<String>,
    /// Fingerprint of the certificate that has issued this one.
    pub(crate) issuer: Option<String>,
    /// Fingerprint of all that came with it: its issuers, and the roots.
    pub(crate) authority: String,
}

/// The key to ask for a certificate with.
#[derive(Clone, Debug)]
pub(crate) enum Key {
    /// A key that is on disk.
    Held(Arc<PrivateKey>),
    /// A key that is to be made and written first.
    New,
}

/// Why an answer of a pilot is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// It belongs to another key, cannot be verified, or is no certificate at all.
    #[error("the pilot's answer {0}")]
    Chain(#[from] ChainError),
    /// It names another instance.
    #[error("the pilot's certificate names {found}, and this is the instance {id}")]
    OfAnother {
        /// The DNS name in it.
        found: String,
        /// Id of this VM's instance.
        id: String,
    },
}

/// Why a file does not hold an identity. No text contains any part of a key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// The file is foreign, newer or damaged.
    #[error(transparent)]
    Seal(SealError),
    /// The content has another form.
    #[error("the content of the file has another form")]
    Form,
    /// A key in it cannot be read.
    #[error("a private key in the file {0}")]
    Key(#[from] KeyError),
    /// The certificate cannot be read.
    #[error("the certificate in the file {0}")]
    Leaf(#[from] LeafError),
    /// The chain lacks a part, or has the certificate of another key.
    #[error("the chain in the file {0}")]
    Chain(#[from] ChainError),
}

#[derive(Serialize, Deserialize)]
struct File {
    issued: Option<FileIssued>,
    pending: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct FileIssued {
    private_key: String,
    chain: Vec<String>,
}

impl Issued {
    /// Checks an answer before it is used. `id` is that of this VM's instance.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn checked(
        key: Arc<PrivateKey>,
        answer: Vec<String>,
        id: &str,
        now: Timestamp,
    ) -> Result<Self, Unusable> {
        let chain = Chain::received(answer)?;
        let leaf = chain.check(key.hash(), now)?;
        let found = leaf.dns_name.clone().unwrap_or_else(|| "no instance".to_owned());
        if is_uuid(id) && found != format!("{id}.{}", leaf.spiffe_id.domain()) {
            return Err(Unusable::OfAnother { found, id: id.to_owned() });
        }
        Ok(Self::of(key, chain, leaf))
    }

    fn of(key: Arc<PrivateKey>, chain: Chain, leaf: Leaf) -> Self {
        let renew_at = leaf.renew_at(rand::random_range(-1.0..=1.0));
        let roots = TrustBundle::from_pem(chain.roots_pem()).map(|roots| roots.fingerprints()).unwrap_or_default();
        let (issuer, authority) = (chain.issuer(), chain.authority());
        Self { key, leaf, renew_at, roots: roots.into_iter().collect(), issuer, authority, chain }
    }

    /// The chain, whose roots this VM trusts.
    pub(crate) fn chain(&self) -> &Chain {
        &self.chain
    }

    /// What operators are shown.
    pub(crate) fn status(&self, now: Timestamp) -> CertificateStatus {
        let Leaf { spiffe_id, dns_name, not_before, not_after, serial, .. } = &self.leaf;
        CertificateStatus {
            spiffe_id: spiffe_id.to_string(),
            dns_name: dns_name.clone(),
            serial: serial.clone(),
            not_before: not_before.0,
            not_after: not_after.0,
            renew_at: self.renew_at.0,
            ends_soon: self.leaf.alarm_at() <= now,
            roots: self.roots.iter().cloned().collect(),
        }
    }

    /// What the local Envoy gets.
    pub(crate) fn secrets(&self) -> Secrets {
        Secrets {
            certificates: self.chain.certificates_pem(),
            private_key: self.key.to_pem(),
            roots: self.chain.roots_pem().to_owned(),
        }
    }
}

impl Held {
    /// The certificate in use, which may have expired.
    pub(crate) fn issued(&self) -> Option<&Arc<Issued>> {
        self.issued.as_ref()
    }

    /// Whether the VM has a certificate that is valid at this time.
    pub(crate) fn is_valid_at(&self, now: Timestamp) -> bool {
        self.issued.as_ref().is_some_and(|issued| issued.leaf.is_valid_at(now))
    }

    /// Fingerprint of the authority of a certificate that is valid at this time.
    pub(crate) fn authority_at(&self, now: Timestamp) -> Option<&str> {
        self.issued.as_ref().filter(|issued| issued.leaf.is_valid_at(now)).map(|issued| &*issued.authority)
    }

    /// When to ask for a certificate.
    pub(crate) fn ask_at(&self) -> Timestamp {
        self.issued.as_ref().map_or(Timestamp(0), |issued| issued.renew_at)
    }

    /// The key to ask with, after this many refusals in a row.
    pub(crate) fn key_to_ask_with(&self, refusals: u32, now: Timestamp) -> Key {
        let current = self.issued.as_ref().map(|issued| Key::Held(Arc::clone(&issued.key)));
        let next = match &self.pending {
            Some(pending) => Some(Key::Held(Arc::clone(pending))),
            // A pilot that does not accept the certificate does not know a new key.
            None => (current.is_none() || self.is_valid_at(now)).then_some(Key::New),
        };
        match (next, current) {
            (Some(next), Some(current)) => {
                if refusals.is_multiple_of(2) {
                    next
                } else {
                    current
                }
            }
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => Key::New,
        }
    }

    /// The key of the certificate in use.
    pub(crate) fn current_key(&self) -> Option<Arc<PrivateKey>> {
        self.issued.as_ref().map(|issued| Arc::clone(&issued.key))
    }

    /// The same with a new key to ask with.
    pub(crate) fn asking_with(&self, key: Arc<PrivateKey>) -> Self {
        Self { issued: self.issued.clone(), pending: Some(key) }
    }

    /// What is held once this certificate was issued. It answers whatever was asked before.
    pub(crate) fn having(issued: Issued) -> Self {
        Self { issued: Some(Arc::new(issued)), pending: None }
    }

    /// Encodes both as a file. The file holds private keys.
    pub(crate) fn seal(&self) -> Vec<u8> {
        let text = |key: &PrivateKey| key.to_pem().expose_secret().to_owned();
        let issued = self
            .issued
            .as_ref()
            .map(|issued| FileIssued { private_key: text(&issued.key), chain: issued.chain.texts().to_vec() });
        FORMAT.seal_json(&File { issued, pending: self.pending.as_deref().map(text) })
    }

    /// Decodes a file. The certificate is not verified: it may have expired.
    ///
    /// # Errors
    /// When the file is foreign, newer, damaged or inconsistent.
    pub(crate) fn unseal(file: &[u8]) -> Result<Self, FileError> {
        let File { issued, pending } = FORMAT.unseal_json(file).map_err(|error| match error {
            // Its text may quote the content.
            SealError::Content(_) => FileError::Form,
            other => FileError::Seal(other),
        })?;
        let key = |text: String| PrivateKey::from_pem(&text).map(Arc::new);
        let issued = issued.map(|FileIssued { private_key, chain }| {
            let (key, chain) = (key(private_key)?, Chain::received(chain)?);
            let leaf = Leaf::from_pem(chain.leaf_pem())?;
            if leaf.key != key.hash() {
                return Err(ChainError::KeyOfAnother.into());
            }
            Ok::<_, FileError>(Arc::new(Issued::of(key, chain, leaf)))
        });
        Ok(Self { issued: issued.transpose()?, pending: pending.map(key).transpose()? })
    }
}

/// Whether the id in the settings is that of a BOSH instance, and no text of somebody's choice.
fn is_uuid(id: &str) -> bool {
    id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// An authority and what it issues, for tests.
#[cfg(test)]
pub(crate) mod samples {
    use std::time::Duration;

    use boshy_identity::{AuthorityFiles, CertificateAuthority, Csr, WorkloadNames, csr_for};
    use boshy_mesh::{TrustDomain, Workload};
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose};

    use super::{Arc, Held, Issued, PrivateKey, Timestamp};

    /// Id of an instance.
    pub(crate) const ID: &str = "6e0a1c9e-0a4b-4c60-8f39-2f4f7c9b7d11";
    /// Life of a certificate in seconds.
    pub(crate) const DAY: u64 = 86_400;

    pub(crate) fn authority(now: Timestamp) -> CertificateAuthority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let private_key = key.serialize_pem().into();
        let files = AuthorityFiles { certificate: &certificate, private_key: &private_key, roots: None };
        CertificateAuthority::open(files, now).unwrap()
    }

    pub(crate) fn issue(ca: &CertificateAuthority, csr: &Csr, id: &str, now: Timestamp) -> Vec<String> {
        let workload =
            Workload { id: id.into(), deployment: "shop".into(), group: "api".into(), ..Workload::default() };
        let names = WorkloadNames::of(&TrustDomain::default(), &workload).unwrap();
        ca.issue(csr, &names, Duration::from_secs(DAY), now).unwrap().texts().to_vec()
    }

    /// A VM with a certificate that it got at this time.
    pub(crate) fn held(now: Timestamp) -> Held {
        let key = Arc::new(PrivateKey::generate().unwrap());
        let csr = Csr::from_pem(&csr_for(&key).unwrap()).unwrap();
        Held::having(Issued::checked(key, issue(&authority(now), &csr, ID, now), ID, now).unwrap())
    }
}
