use envoy_types::pb::{
    envoy::{
        config::core::v3::SocketAddress,
        data::accesslog::v3::{
            HttpRequestProperties, HttpResponseProperties, ResponseFlags, TlsProperties,
            tls_properties::{CertificateProperties, certificate_properties::SubjectAltName},
        },
        service::accesslog::v3::stream_access_logs_message::{HttpAccessLogEntries, TcpAccessLogEntries},
    },
    google::protobuf::{Any, UInt32Value},
};

use super::*;

fn address(port: u32) -> Option<Address> {
    let socket = SocketAddress {
        address: "10.0.0.7".into(),
        port_specifier: Some(PortSpecifier::PortValue(port)),
        ..SocketAddress::default()
    };
    Some(Address { address: Some(address::Address::SocketAddress(socket)) })
}

fn calls(details: &str, no_instance: bool) -> Vec<RefusedTunnel> {
    let common_properties = Some(AccessLogCommon {
        upstream_cluster: "mtls.db.g.d.boshy|mysql".into(),
        downstream_local_address: address(3306),
        upstream_transport_failure_reason: details.into(),
        response_flags: Some(ResponseFlags { no_healthy_upstream: no_instance, ..ResponseFlags::default() }),
        ..AccessLogCommon::default()
    });
    let log_entry = vec![TcpAccessLogEntry { common_properties, ..TcpAccessLogEntry::default() }];
    read(StreamAccessLogsMessage {
        log_entries: Some(LogEntries::TcpLogs(TcpAccessLogEntries { log_entry })),
        ..StreamAccessLogsMessage::default()
    })
}

fn answers(status: u32, names: Vec<San>) -> Vec<RefusedTunnel> {
    let names = names.into_iter().map(|san| SubjectAltName { san: Some(san) }).collect();
    let peer = CertificateProperties { subject_alt_name: names, ..CertificateProperties::default() };
    let tls = TlsProperties { peer_certificate_properties: Some(peer), ..TlsProperties::default() };
    let entry = HttpAccessLogEntry {
        common_properties: Some(AccessLogCommon {
            tls_properties: Some(tls),
            downstream_remote_address: address(40_000),
            ..AccessLogCommon::default()
        }),
        request: Some(HttpRequestProperties {
            authority: "db.g.d.boshy:3306".into(),
            ..HttpRequestProperties::default()
        }),
        response: Some(HttpResponseProperties {
            response_code: Some(UInt32Value { value: status }),
            response_code_details: "rbac_access_denied_matched_policy[net/db:3:1]".into(),
            ..HttpResponseProperties::default()
        }),
        ..HttpAccessLogEntry::default()
    };
    read(StreamAccessLogsMessage {
        log_entries: Some(LogEntries::HttpLogs(HttpAccessLogEntries { log_entry: vec![entry] })),
        ..StreamAccessLogsMessage::default()
    })
}

#[test]
fn the_callers_side_tells_what_was_called_and_what_the_last_instance_answered() {
    let refused = calls("tunnel_response:403", false);
    let expected = RefusedTunnel {
        side: Side::Caller,
        reason: RefusalReason::Denied,
        caller: None,
        target: "db.g.d.boshy:3306".into(),
        details: "tunnel_response:403".into(),
    };
    assert_eq!(refused, [expected]);
    let reason = |details: &str, no_instance: bool| calls(details, no_instance)[0].reason;
    assert_eq!(reason("tunnel_response:503", false), RefusalReason::ProgramDown);
    assert_eq!(reason("tunnel_response:404", false), RefusalReason::NotExposed);
    let failed = "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED";
    assert_eq!(reason(failed, false), RefusalReason::Certificate);
    assert_eq!(reason("", true), RefusalReason::NoInstance);
    assert_eq!(reason("", false), RefusalReason::Unreachable, "Envoy 1.36 says no more");
}

#[test]
fn the_instances_side_tells_who_has_called_and_which_rule_denies_it() {
    let (identity, name) = ("spiffe://boshy/ns/shop/sa/web", "i.boshy");
    let refused = answers(403, vec![San::Dns(name.into()), San::Uri(identity.into())]);
    let expected = RefusedTunnel {
        side: Side::Instance,
        reason: RefusalReason::Denied,
        caller: Some(identity.into()),
        target: "db.g.d.boshy:3306".into(),
        details: "rbac_access_denied_matched_policy[net/db:3:1]".into(),
    };
    assert_eq!(refused, [expected]);
    assert_eq!(answers(404, vec![])[0].caller.as_deref(), Some("10.0.0.7"));
}

#[test]
fn a_captured_connection_that_is_denied_tells_who_has_called_which_port_and_which_rule_denies_it() {
    let details = "rbac_access_denied_matched_policy[net/db:3:1]".to_owned();
    let said = Any { value: details.encode_to_vec(), ..Any::default() };
    let common_properties = Some(AccessLogCommon {
        upstream_cluster: "nowhere".into(),
        downstream_local_address: address(3306),
        downstream_remote_address: address(40_000),
        filter_state_objects: [(DENIED.to_owned(), said)].into(),
        ..AccessLogCommon::default()
    });
    let log_entry = vec![TcpAccessLogEntry { common_properties, ..TcpAccessLogEntry::default() }];
    let refused = read(StreamAccessLogsMessage {
        log_entries: Some(LogEntries::TcpLogs(TcpAccessLogEntries { log_entry })),
        ..StreamAccessLogsMessage::default()
    });
    let expected = RefusedTunnel {
        side: Side::Captured,
        reason: RefusalReason::Denied,
        caller: Some("10.0.0.7".into()),
        target: "10.0.0.7:3306".into(),
        details,
    };
    assert_eq!(refused, [expected]);
}

#[test]
fn what_is_no_tunnel_is_none_of_ours() {
    let common_properties =
        Some(AccessLogCommon { upstream_cluster: "out.db.g.d.boshy|mysql".into(), ..AccessLogCommon::default() });
    let log_entry = vec![TcpAccessLogEntry { common_properties, ..TcpAccessLogEntry::default() }, Default::default()];
    let message = StreamAccessLogsMessage {
        log_entries: Some(LogEntries::TcpLogs(TcpAccessLogEntries { log_entry })),
        ..StreamAccessLogsMessage::default()
    };
    assert_eq!(read(message), []);
    assert_eq!(read(StreamAccessLogsMessage::default()), []);
}
