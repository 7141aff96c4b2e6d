//! Where Envoy reports tunnels that were not opened, and captured connections that a policy denies: to the server of its
//! configuration, which the agent is, and, on the instance's side, on standard output. The agent logs and counts them
//! ([`crate::Refusals`]). Nothing is reported about those that were opened.

use envoy_types::{
    pb::envoy::{
        config::{
            accesslog::v3::{
                AccessLog, AccessLogFilter, ComparisonFilter, ResponseFlagFilter, StatusCodeFilter, access_log,
                access_log_filter::FilterSpecifier, comparison_filter::Op,
            },
            core::v3::{
                ApiVersion, DataSource, GrpcService, RuntimeUInt32, SubstitutionFormatString, data_source,
                grpc_service::{EnvoyGrpc, TargetSpecifier},
                substitution_format_string::Format,
            },
            listener::v3::{Filter, filter},
        },
        extensions::{
            access_loggers::grpc::v3::{CommonGrpcAccessLogConfig, HttpGrpcAccessLogConfig, TcpGrpcAccessLogConfig},
            filters::{
                common::set_filter_state::v3::{FilterStateValue, filter_state_value},
                network::set_filter_state::v3::Config as SetFilterState,
            },
        },
    },
    pb::google::protobuf::Any,
    util::pack_any,
};

use super::bootstrap::ADS;

/// Name of both logs. Envoy has one stream for each name and worker.
const NAME: &str = "refused_tunnels";
/// Envoy's flags of a connection for which it found no instance: all attempts have failed, or there is none to try. A
/// connection that succeeded after some attempts has neither.
const GIVEN_UP: [&str; 2] = ["URX", "UH"];
/// First HTTP status with which a tunnel is refused.
const REFUSED: u32 = 400;
/// Where Envoy keeps why a captured connection is denied.
pub(crate) const DENIED: &str = "boshy.denied";
/// What is logged about a refused tunnel. The operators are Envoy's.
const REFUSAL: [(&str, &str); 10] = [
    ("authority", "%REQ(:AUTHORITY)%"),
    ("caller", "%DOWNSTREAM_PEER_URI_SAN%"),
    ("caller_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("caller_instance", "%DOWNSTREAM_PEER_DNS_SAN%"),
    ("code", "%RESPONSE_CODE%"),
    ("details", "%RESPONSE_CODE_DETAILS%"),
    ("flags", "%RESPONSE_FLAGS%"),
    ("termination", "%CONNECTION_TERMINATION_DETAILS%"),
    ("time", "%START_TIME%"),
    ("what", "tunnel refused"),
];
/// What is logged about a captured connection that is denied, in the words for tunnels.
const DENIAL: [(&str, &str); 5] = [
    ("authority", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("caller_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("details", "%FILTER_STATE(boshy.denied:PLAIN)%"),
    ("time", "%START_TIME%"),
    ("what", "connection refused"),
];

/// The caller's side: connections of programs for which no instance has opened a tunnel.
pub(super) fn of_callers() -> AccessLog {
    let given_up = ResponseFlagFilter { flags: GIVEN_UP.map(str::to_owned).to_vec() };
    let config = TcpGrpcAccessLogConfig { common_config: Some(to_the_agent()) };
    log("envoy.access_loggers.tcp_grpc", Some(FilterSpecifier::ResponseFlagFilter(given_up)), pack_any(config))
}

/// The instance's side: each tunnel that was refused. A caller tries several times.
pub(super) fn of_instances() -> Vec<AccessLog> {
    let config = HttpGrpcAccessLogConfig { common_config: Some(to_the_agent()), ..HttpGrpcAccessLogConfig::default() };
    let told = log("envoy.access_loggers.http_grpc", Some(refused()), pack_any(config));
    vec![on_standard_output(Some(refused()), &REFUSAL), told]
}

/// Each connection of a filter chain that denies all, [`because`] of something.
pub(super) fn of_captured() -> Vec<AccessLog> {
    let common_config =
        CommonGrpcAccessLogConfig { filter_state_objects_to_log: vec![DENIED.to_owned()], ..to_the_agent() };
    let config = TcpGrpcAccessLogConfig { common_config: Some(common_config) };
    vec![on_standard_output(None, &DENIAL), log("envoy.access_loggers.tcp_grpc", None, pack_any(config))]
}

/// A filter that says why the connections of its chain are denied. It comes before the one that closes them. Were it said
/// in the configuration of a log instead, Envoy would keep one log for each reason there ever was.
pub(super) fn because(details: &str) -> Filter {
    let text = SubstitutionFormatString {
        format: Some(Format::TextFormatSource(DataSource {
            specifier: Some(data_source::Specifier::InlineString(details.replace('%', "%%"))),
            ..DataSource::default()
        })),
        ..SubstitutionFormatString::default()
    };
    let value = FilterStateValue {
        key: Some(filter_state_value::Key::ObjectKey(DENIED.to_owned())),
        factory_key: "envoy.string".to_owned(),
        value: Some(filter_state_value::Value::FormatString(text)),
        ..FilterStateValue::default()
    };
    let config = SetFilterState { on_new_connection: vec![value], ..SetFilterState::default() };
    Filter {
        name: "envoy.filters.network.set_filter_state".to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(pack_any(config))),
    }
}

/// Matches tunnels that were refused.
fn refused() -> FilterSpecifier {
    let comparison = ComparisonFilter {
        op: Op::Ge.into(),
        value: Some(RuntimeUInt32 { default_value: REFUSED, runtime_key: "boshy.refused".to_owned() }),
    };
    FilterSpecifier::StatusCodeFilter(StatusCodeFilter { comparison: Some(comparison) })
}

/// As JSON.
fn on_standard_output(filter: Option<FilterSpecifier>, fields: &[(&str, &str)]) -> AccessLog {
    let config = Any {
        type_url: "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog".to_owned(),
        value: json::stdout(fields),
    };
    log("envoy.access_loggers.stdout", filter, config)
}

fn log(name: &str, filter: Option<FilterSpecifier>, config: Any) -> AccessLog {
    AccessLog {
        name: name.to_owned(),
        filter: filter.map(|filter| AccessLogFilter { filter_specifier: Some(filter) }),
        config_type: Some(access_log::ConfigType::TypedConfig(config)),
    }
}

fn to_the_agent() -> CommonGrpcAccessLogConfig {
    let server = EnvoyGrpc { cluster_name: ADS.to_owned(), ..EnvoyGrpc::default() };
    CommonGrpcAccessLogConfig {
        log_name: NAME.to_owned(),
        grpc_service: Some(GrpcService {
            target_specifier: Some(TargetSpecifier::EnvoyGrpc(server)),
            ..GrpcService::default()
        }),
        transport_api_version: ApiVersion::V3.into(),
        ..CommonGrpcAccessLogConfig::default()
    }
}

/// The messages of a log in JSON, with fields in order: those of `envoy_types` have none, so that equal logs would
/// have unequal versions.
mod json {
    use std::collections::BTreeMap;

    use envoy_types::pb::google::protobuf::{Value, value::Kind};
    use prost::Message;

    /// `envoy.extensions.access_loggers.stream.v3.StdoutAccessLog`.
    #[derive(Clone, PartialEq, Message)]
    struct Stdout {
        #[prost(message, optional, tag = "1")]
        log_format: Option<Format>,
    }

    /// `envoy.config.core.v3.SubstitutionFormatString`.
    #[derive(Clone, PartialEq, Message)]
    struct Format {
        #[prost(message, optional, tag = "2")]
        json_format: Option<Fields>,
    }

    /// `google.protobuf.Struct`.
    #[derive(Clone, PartialEq, Message)]
    struct Fields {
        #[prost(btree_map = "string, message", tag = "1")]
        fields: BTreeMap<String, Value>,
    }

    pub(super) fn stdout(fields: &[(&str, &str)]) -> Vec<u8> {
        let value = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
        let fields = fields.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect();
        Stdout { log_format: Some(Format { json_format: Some(Fields { fields }) }) }.encode_to_vec()
    }
}
