//! Istio's API of certificate authorities, `istio.v1.auth` (`security/v1alpha1/ca.proto` of istio.io/api 1.32).

use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};

/// Name of the service.
pub(crate) const SERVICE: &str = "istio.v1.auth.IstioCertificateService";
/// Path of its only method.
pub(crate) const CREATE: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";
/// Field of the request's metadata with the latest certificate of the sender, PEM, which may have expired. Istio's
/// clients do not send it.
const LATEST: &str = "BoshyLatestCertificate";

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
    pub(crate) fn with_latest(mut self, certificate: Option<&str>) -> Self {
        self.metadata = certificate.map(|pem| {
            let value = Value { kind: Some(Kind::StringValue(pem.to_owned())) };
            Struct { fields: [(LATEST.to_owned(), value)].into() }
        });
        self
    }

    /// The latest certificate of the sender.
    pub(crate) fn latest(&self) -> Option<&str> {
        match self.metadata.as_ref()?.fields.get(LATEST)?.kind.as_ref()? {
            Kind::StringValue(pem) => Some(pem),
            _ => None,
        }
    }
}
