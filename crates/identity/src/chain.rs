//! A workload's certificate with all that a peer needs to verify it, as it travels.

use boshy_mesh::Timestamp;
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};

use crate::{
    BundleError, KeyHash, Leaf, LeafError, TrustBundle,
    bundle::{NotTrusted, certificates, fingerprint},
};

/// Texts of PEM certificates: the leaf, then its issuers from the leaf upwards, then all trusted roots in one text.
/// There are at least two, on which Istio's clients insist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain(Vec<String>);

/// Why a received chain cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// Fewer than two texts, so there is a leaf or a root but not both.
    #[error("has {0} of the two texts that are needed at least: a leaf and its root")]
    TooShort(usize),
    /// The first text is no workload's certificate.
    #[error("its leaf {0}")]
    Leaf(#[from] LeafError),
    /// A text between leaf and root holds no certificate.
    #[error("its intermediate {0}")]
    Intermediate(#[source] BundleError),
    /// The last text holds no roots.
    #[error("its root {0}")]
    Roots(#[source] BundleError),
    /// The leaf belongs to another key than the one that was asked for.
    #[error("its leaf belongs to another private key")]
    KeyOfAnother,
    /// The leaf is not valid now, or the roots have not issued it.
    #[error("its leaf cannot be verified by its own roots: {0}")]
    NotTrusted(#[from] NotTrusted),
}

impl Chain {
    /// Reads what a certificate authority has answered. [`Chain::check`] says whether it can be used.
    ///
    /// # Errors
    /// When a text is missing.
    pub fn received(texts: Vec<String>) -> Result<Self, ChainError> {
        if texts.len() < 2 { Err(ChainError::TooShort(texts.len())) } else { Ok(Self(texts)) }
    }

    pub(crate) fn new(leaf: String, issuers: impl Iterator<Item = String>, roots: String) -> Self {
        Self([leaf].into_iter().chain(issuers).chain([roots]).collect())
    }

    /// Checks that the leaf is a workload's, belongs to this key and is verified by the roots at this time.
    ///
    /// # Errors
    /// What is wrong first.
    pub fn check(&self, key: KeyHash, now: Timestamp) -> Result<Leaf, ChainError> {
        let leaf = Leaf::from_pem(self.leaf_pem())?;
        if leaf.key != key {
            return Err(ChainError::KeyOfAnother);
        }
        let path = certificates(&self.certificates_pem()).map_err(ChainError::Intermediate)?;
        let [first, issuers @ ..] = &path[..] else { return Err(LeafError::NotPem.into()) };
        TrustBundle::from_pem(self.roots_pem()).map_err(ChainError::Roots)?.verify(first, issuers, now)?;
        Ok(leaf)
    }

    /// The texts as they travel.
    pub fn texts(&self) -> &[String] {
        &self.0
    }

    /// The leaf alone.
    pub fn leaf_pem(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// The leaf and its issuers, which the owner presents in a TLS handshake.
    pub fn certificates_pem(&self) -> String {
        let mut all = String::new();
        for text in &self.0[..self.0.len() - 1] {
            all.push_str(text.trim_end());
            all.push('\n');
        }
        all
    }

    /// SHA-256 of the certificate that has issued the leaf, as [`TrustBundle::fingerprints`] has it. `None` when it cannot
    /// be told.
    pub fn issuer(&self) -> Option<String> {
        let path = certificates(&self.certificates_pem()).ok()?;
        let (leaf, issuers) = path.split_first()?;
        if let Some(issuer) = issuers.first() {
            return Some(fingerprint(issuer));
        }
        let at = Leaf::from_der(leaf).ok()?.not_before;
        let has_issued = |root: &CertificateDer<'static>| {
            TrustBundle::new(vec![root.clone()]).is_ok_and(|alone| alone.verify(leaf, &[], at).is_ok())
        };
        certificates(self.roots_pem()).ok()?.iter().find(|root| has_issued(root)).map(|root| fingerprint(root))
    }

    /// Identifies all that comes with a leaf: its issuers and the roots. Equal to
    /// [`CertificateAuthority::fingerprint`](crate::CertificateAuthority::fingerprint) of the authority that issued the
    /// chain, until it is replaced or trusts other roots.
    pub fn authority(&self) -> String {
        authority_fingerprint(&self.0[1..])
    }

    /// The roots, by which the owner verifies its peers.
    pub fn roots_pem(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }
}

/// SHA-256 of the certificates in PEM texts, in lower-case hexadecimal digits. A text that cannot be read counts as it
/// is.
pub(crate) fn authority_fingerprint(texts: &[String]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        match certificates(text) {
            Ok(all) => all.iter().for_each(|certificate| hash.update(certificate)),
            Err(_) => hash.update(text),
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl TrustBundle {
    /// Reads a workload's certificate, which the issuers that are not roots follow, and checks that one of the roots has
    /// issued it. It may have expired since.
    ///
    /// # Errors
    /// When it is no workload's, or no root has issued it.
    pub fn leaf_of_any_time(&self, text: &str) -> Result<Leaf, ChainError> {
        let path = certificates(text).map_err(ChainError::Intermediate)?;
        let [first, issuers @ ..] = &path[..] else { return Err(LeafError::NotPem.into()) };
        let leaf = Leaf::from_der(first)?;
        self.verify(first, issuers, leaf.not_before)?;
        Ok(leaf)
    }
}
