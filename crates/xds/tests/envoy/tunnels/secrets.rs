//! What the agent of a VM adds to its Envoy's resources, and what a redirection would do.

use std::sync::Arc;

use boshy_xds::{CERTIFICATE, Layer, ROOTS, Resource, ResourceMap, ResourceSet, ResourceType, TypedResources};
use envoy_types::pb::{
    envoy::{
        config::{
            core::v3::{DataSource, data_source::Specifier},
            listener::v3::Listener,
        },
        extensions::transport_sockets::tls::v3::{CertificateValidationContext, Secret, TlsCertificate, secret::Type},
    },
    google::protobuf::BoolValue,
};
use prost::Message;

use super::certificates::Secrets;

impl Secrets {
    /// As resources.
    pub(crate) fn layer(&self) -> Layer {
        let inline = |text: &str| {
            let specifier = Some(Specifier::InlineString(text.to_owned()));
            Some(DataSource { specifier, ..DataSource::default() })
        };
        let certificate = TlsCertificate {
            certificate_chain: inline(&self.leaf.certificate),
            private_key: inline(&self.leaf.key),
            ..TlsCertificate::default()
        };
        let roots =
            CertificateValidationContext { trusted_ca: inline(&self.roots), ..CertificateValidationContext::default() };
        let secret = |name: &str, content| {
            Resource::new(name, Secret { name: name.to_owned(), r#type: Some(content) }.encode_to_vec())
        };
        let certificate = secret(CERTIFICATE, Type::TlsCertificate(certificate));
        [certificate, secret(ROOTS, Type::ValidationContext(roots))].into_iter().collect()
    }
}

/// The listeners of virtual IPs are bound when programs of the VM call, and left out otherwise.
pub(crate) fn with_bound_listeners(set: &ResourceSet, calls: bool) -> ResourceSet {
    let listener = |resource: &Arc<Resource>| {
        let mut listener = Listener::decode(resource.body.clone()).unwrap();
        if !listener.name.starts_with("tcp_127.60.") {
            return Some(Arc::clone(resource));
        }
        listener.bind_to_port = Some(BoolValue { value: true });
        calls.then(|| Arc::new(Resource::new(resource.name.clone(), listener.encode_to_vec())))
    };
    let listeners = set.of(ResourceType::Listener).iter().filter_map(listener);
    let listeners: ResourceMap = listeners.map(|one| (one.name.clone(), one)).collect();
    set.clone().with(ResourceType::Listener, TypedResources::new([Layer::new(listeners)]))
}
