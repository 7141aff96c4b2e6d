//! Authorities of meshes, and the certificates that they issue.

use boshy_mesh::{SpiffeId, TrustDomain};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType, date_time_ymd};

/// An authority.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, PEM.
pub(crate) struct Leaf {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// What a VM has.
pub(crate) struct Secrets {
    pub(crate) leaf: Leaf,
    pub(crate) roots: String,
}

/// Id of a VM's instance.
pub(crate) fn id(vm: u8) -> String {
    format!("00000000-0000-4000-8000-0000000000{vm:02}")
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate, PEM.
    pub(crate) fn root(&self) -> String {
        self.0.pem()
    }

    /// What a VM has that is in order.
    pub(crate) fn secrets(&self, vm: u8) -> Secrets {
        Secrets { leaf: self.leaf(vm, true), roots: self.root() }
    }

    /// What a VM of another deployment has.
    pub(crate) fn secrets_of_another_deployment(&self, vm: u8) -> Secrets {
        Secrets { leaf: self.leaf_of("other", vm, true), roots: self.root() }
    }

    /// A certificate of a VM.
    pub(crate) fn leaf(&self, vm: u8, is_valid: bool) -> Leaf {
        self.leaf_of("d", vm, is_valid)
    }

    fn leaf_of(&self, deployment: &str, vm: u8, is_valid: bool) -> Leaf {
        let domain = TrustDomain::default();
        let mut params = CertificateParams::new(vec![domain.instance_name(&id(vm)).unwrap()]).unwrap();
        let group = SpiffeId::new(&domain, deployment, "g").unwrap().to_string();
        params.subject_alt_names.push(SanType::URI(group.try_into().unwrap()));
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(if is_valid { 2040 } else { 2021 }, 1, 1);
        let key = KeyPair::generate().unwrap();
        Leaf { certificate: params.signed_by(&key, &self.0).unwrap().pem(), key: key.serialize_pem() }
    }
}
