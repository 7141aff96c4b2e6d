//! The certificates of an authority, from the one that issues up to its roots.

use boshy_mesh::{AuthorityCertificate, MeshAuthority, Timestamp};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::X509Certificate;

use crate::{
    AuthorityError, BundleError, TrustBundle,
    bundle::{certificates, fingerprint},
    x509,
};

/// What an authority's text holds: at least one certificate, the issuing one first.
pub(crate) struct Path<'a>(Vec<(&'a CertificateDer<'static>, X509Certificate<'a>)>);

impl<'a> Path<'a> {
    pub(crate) fn read(all: &'a [CertificateDer<'static>]) -> Result<Self, BundleError> {
        let read = |(der, number): (&'a CertificateDer<'static>, usize)| {
            x509::certificate(der).map(|read| (der, read)).ok_or(BundleError::NotACertificate(number))
        };
        let all = all.iter().zip(1..).map(read).collect::<Result<Vec<_>, _>>()?;
        if all.is_empty() { Err(BundleError::Empty) } else { Ok(Self(all)) }
    }

    /// The certificate that issues.
    pub(crate) fn issuing(&self) -> (&CertificateDer<'static>, &X509Certificate<'a>) {
        let (der, read) = &self.0[0];
        (der, read)
    }

    /// The roots among these certificates, then those of another text, each once.
    pub(crate) fn bundle(&self, given: Option<&str>) -> Result<TrustBundle, AuthorityError> {
        let given = given.map_or(Ok(Vec::new()), certificates).map_err(AuthorityError::Roots)?;
        let own = self.0.iter().filter(|(_, read)| is_root(read)).map(|(root, _)| (*root).clone());
        let mut roots = Vec::new();
        for root in own.chain(given) {
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        match TrustBundle::new(roots) {
            Err(BundleError::Empty) => Err(self.without_root()),
            bundle => bundle.map_err(AuthorityError::Roots),
        }
    }

    /// When the first of these certificates or the root that issued the last one expires. A root may have been issued
    /// again with the same key and a later end.
    pub(crate) fn end(&self, bundle: &TrustBundle) -> Result<Timestamp, AuthorityError> {
        let end = |read: &X509Certificate<'_>| x509::timestamp(read.validity().not_after);
        let (_, last) = &self.0[self.0.len() - 1];
        let roots = bundle.roots().iter().filter_map(|root| x509::certificate(root));
        let root = roots.filter(|root| has_issued(root, last)).map(|root| end(&root)).max();
        let own = self.0.iter().map(|(_, read)| end(read));
        own.chain([root.ok_or_else(|| self.without_root())?]).min().ok_or_else(|| self.without_root())
    }

    /// The certificate that issues and the roots, for people.
    pub(crate) fn described(&self, bundle: &TrustBundle) -> Result<MeshAuthority, AuthorityError> {
        let (issuer, read) = &self.0[0];
        let (_, last) = &self.0[self.0.len() - 1];
        let root =
            bundle.roots().iter().find(|root| x509::certificate(root).is_some_and(|root| has_issued(&root, last)));
        let roots = bundle.roots().iter();
        Ok(MeshAuthority {
            issuer: described(issuer, read),
            root: fingerprint(root.ok_or_else(|| self.without_root())?),
            roots: roots.filter_map(|root| Some(described(root, &x509::certificate(root)?))).collect(),
        })
    }

    /// What is between a leaf and a root.
    pub(crate) fn between(&self) -> Vec<CertificateDer<'static>> {
        self.0.iter().filter(|(_, read)| !is_root(read)).map(|(der, _)| (*der).clone()).collect()
    }

    fn without_root(&self) -> AuthorityError {
        AuthorityError::NoRoot(self.issuing().1.subject().to_string())
    }
}

fn described(der: &CertificateDer<'_>, read: &X509Certificate<'_>) -> AuthorityCertificate {
    let (subject, end) = (read.subject().to_string(), x509::timestamp(read.validity().not_after).0);
    AuthorityCertificate { fingerprint: fingerprint(der), subject, end }
}

fn is_root(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject().as_raw() == certificate.issuer().as_raw()
}

fn has_issued(issuer: &X509Certificate<'_>, certificate: &X509Certificate<'_>) -> bool {
    issuer.subject().as_raw() == certificate.issuer().as_raw()
        && certificate.verify_signature(Some(issuer.public_key())).is_ok()
}
