//! Mutual TLS between the Envoys of the mesh: HTTP/2 over TLS 1.3, with a certificate on both sides.

use envoy_types::{
    pb::{
        envoy::{
            config::core::v3::{
                AggregatedConfigSource, ApiVersion, ConfigSource, Http2ProtocolOptions, TransportSocket,
                config_source::ConfigSourceSpecifier, transport_socket,
            },
            extensions::transport_sockets::tls::v3::{
                CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, TlsParameters, UpstreamTlsContext,
                common_tls_context::ValidationContextType, downstream_tls_context::SessionTicketKeysType,
                tls_parameters::TlsProtocol,
            },
        },
        google::protobuf::{BoolValue, Duration, UInt32Value},
    },
    util::pack_any,
};

/// Name of the secret with the certificate and the key of this VM. Istio's clients use the same.
pub const CERTIFICATE: &str = "default";
/// Name of the secret with the trusted roots. Istio's clients use the same.
pub const ROOTS: &str = "ROOTCA";

/// How long Envoy waits for a secret or for routes before it goes on without. By default, a cluster without its secret
/// delays all listeners for 15 seconds, and a listener delays all others.
const FETCH_TIMEOUT: Duration = Duration { seconds: 1, nanos: 0 };
/// HTTP/2 as tunnels need it, for one end of a connection.
pub(super) struct Http2 {
    /// Octets that a tunnel may have in flight towards this end.
    pub(super) stream_window: u32,
    /// Tunnels in one connection.
    pub(super) most_streams: u32,
}

impl Http2 {
    pub(super) fn options(&self) -> Http2ProtocolOptions {
        let number = |value| Some(UInt32Value { value });
        Http2ProtocolOptions {
            allow_connect: true,
            max_concurrent_streams: number(self.most_streams),
            initial_stream_window_size: number(self.stream_window),
            // Those of all its tunnels. With less, tunnels whose programs do not read would stop the others.
            initial_connection_window_size: number(self.most_streams * self.stream_window),
            ..Http2ProtocolOptions::default()
        }
    }
}

/// A caller's side: each endpoint must prove the name that its `hostname` says.
pub(super) fn upstream() -> TransportSocket {
    transport_socket(pack_any(UpstreamTlsContext {
        common_tls_context: Some(common()),
        auto_host_sni: true,
        auto_sni_san_validation: true,
        ..UpstreamTlsContext::default()
    }))
}

/// The side of the instance. A resumed session would skip the check of the certificate, so none is resumed.
pub(super) fn downstream() -> TransportSocket {
    transport_socket(pack_any(DownstreamTlsContext {
        common_tls_context: Some(common()),
        require_client_certificate: Some(BoolValue { value: true }),
        disable_stateful_session_resumption: true,
        session_ticket_keys_type: Some(SessionTicketKeysType::DisableStatelessSessionResumption(true)),
        ..DownstreamTlsContext::default()
    }))
}

/// Resources of the stream from which Envoy gets everything.
pub(super) fn ads() -> ConfigSource {
    ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        resource_api_version: ApiVersion::V3.into(),
        ..ConfigSource::default()
    }
}

/// The same for what Envoy would rather go without than wait for.
pub(super) fn ads_soon() -> ConfigSource {
    ConfigSource { initial_fetch_timeout: Some(FETCH_TIMEOUT), ..ads() }
}

fn common() -> CommonTlsContext {
    let secret = |name: &str| SdsSecretConfig { name: name.to_owned(), sds_config: Some(ads_soon()) };
    let version = TlsProtocol::TlSv13.into();
    CommonTlsContext {
        tls_params: Some(TlsParameters {
            tls_minimum_protocol_version: version,
            tls_maximum_protocol_version: version,
            ..TlsParameters::default()
        }),
        alpn_protocols: vec!["h2".to_owned()],
        tls_certificate_sds_secret_configs: vec![secret(CERTIFICATE)],
        validation_context_type: Some(ValidationContextType::ValidationContextSdsSecretConfig(secret(ROOTS))),
        ..CommonTlsContext::default()
    }
}

fn transport_socket(context: envoy_types::pb::google::protobuf::Any) -> TransportSocket {
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(context)),
    }
}
