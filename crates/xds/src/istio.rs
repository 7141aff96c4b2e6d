//! Istio's API of certificate authorities, `istio.v1.auth` (`security/v1alpha1/ca.proto` of istio.io/api 1.32).

use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};

/// Name of the service.
pub(crate) const SERVICE: &str = "istio.v1.auth.IstioCertificateService";
/// Path of its only method.
pub(crate) const CREATE: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";
/// Field of the request's metadata with the latest certificate of the sender, PEM, which may have expired. Istio's
/// clients do not send it.
const LATEST: &str = "BoshyLatestCertificate";
/// Field of the request's metadata with the proof of the VM's BOSH agent, PEM ([`boshy_identity::Voucher`]).
const PROOF: &str = "BoshyProof";

/// `IstioCertificateRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CreateRequest {
    /// PEM text `CERTIFICATE REQUEST`.
    #[prost(string, tag = "1")]
    pub(crate) csr: String,
    /// The wanted life of the certificate in seconds.
    #[prost(int64, tag = "3")]
    pub(crate) validity_duration: i64,
    /// Anything else.
    #[prost(message, optional, tag = "4")]
    pub(crate) metadata: Option<Struct>,
}

/// `IstioCertificateResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CreateResponse {
    /// PEM texts: leaf, its issuers, roots.
    #[prost(string, repeated, tag = "1")]
    pub(crate) cert_chain: Vec<String>,
}

impl CreateRequest {
    /// Adds the latest certificate of the sender, and the proof of its VM's BOSH agent.
    pub(crate) fn with(mut self, latest: Option<&str>, proof: Option<&str>) -> Self {
        let value = |pem: &str| Value { kind: Some(Kind::StringValue(pem.to_owned())) };
        let fields = [(LATEST, latest), (PROOF, proof)].into_iter();
        let fields = fields.filter_map(|(name, pem)| Some((name.to_owned(), value(pem?)))).collect();
        self.metadata = Some(Struct { fields });
        self
    }

    /// The latest certificate of the sender.
    pub(crate) fn latest(&self) -> Option<&str> {
        self.text(LATEST)
    }

    /// The proof of the BOSH agent of the sender's VM.
    pub(crate) fn proof(&self) -> Option<&str> {
        self.text(PROOF)
    }

    fn text(&self, name: &str) -> Option<&str> {
        match self.metadata.as_ref()?.fields.get(name)?.kind.as_ref()? {
            Kind::StringValue(pem) => Some(pem),
            _ => None,
        }
    }
}
