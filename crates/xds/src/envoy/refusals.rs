//! Where Envoy reports tunnels that were not opened: to the server of its configuration, which the agent is. The agent
//! logs and counts them ([`crate::Refusals`]). Nothing is reported about tunnels that were opened.

use envoy_types::{
    pb::envoy::{
        config::{
            accesslog::v3::{
                AccessLog, AccessLogFilter, ComparisonFilter, ResponseFlagFilter, StatusCodeFilter, access_log,
                access_log_filter::FilterSpecifier, comparison_filter::Op,
            },
            core::v3::{
                ApiVersion, GrpcService, RuntimeUInt32,
                grpc_service::{EnvoyGrpc, TargetSpecifier},
            },
        },
        extensions::access_loggers::grpc::v3::{
            CommonGrpcAccessLogConfig, HttpGrpcAccessLogConfig, TcpGrpcAccessLogConfig,
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

/// The caller's side: connections of programs for which no instance has opened a tunnel.
pub(super) fn of_callers() -> AccessLog {
    let given_up = ResponseFlagFilter { flags: GIVEN_UP.map(str::to_owned).to_vec() };
    let config = TcpGrpcAccessLogConfig { common_config: Some(to_the_agent()) };
    log("envoy.access_loggers.tcp_grpc", FilterSpecifier::ResponseFlagFilter(given_up), pack_any(config))
}

/// The instance's side: each tunnel that was refused. A caller tries several times.
pub(super) fn of_instances() -> AccessLog {
    let config = HttpGrpcAccessLogConfig { common_config: Some(to_the_agent()), ..HttpGrpcAccessLogConfig::default() };
    log("envoy.access_loggers.http_grpc", refused(), pack_any(config))
}

/// Matches tunnels that were refused.
pub(super) fn refused() -> FilterSpecifier {
    let comparison = ComparisonFilter {
        op: Op::Ge.into(),
        value: Some(RuntimeUInt32 { default_value: REFUSED, runtime_key: "boshy.refused".to_owned() }),
    };
    FilterSpecifier::StatusCodeFilter(StatusCodeFilter { comparison: Some(comparison) })
}

pub(super) fn log(name: &str, filter: FilterSpecifier, config: Any) -> AccessLog {
    AccessLog {
        name: name.to_owned(),
        filter: Some(AccessLogFilter { filter_specifier: Some(filter) }),
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
