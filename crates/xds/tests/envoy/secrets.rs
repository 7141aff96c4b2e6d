//! Secrets of a VM, on the way from its agent's relay to an Envoy that needs them for a cluster.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use boshy_xds::{
    AckState, AckStates, AdminAddress, Bootstrap, Flavour, Proxies, Repairs, Resource, ResourceSet, ResourceType,
    Secrets,
    agent::relay::{Relay, RelaySettings, Step, Stored},
    session::client::ResponseFromPilot,
};
use envoy_types::pb::{
    envoy::{
        config::{
            cluster::v3::Cluster,
            core::v3::{
                AggregatedConfigSource, ApiVersion, ConfigSource, TransportSocket,
                config_source::ConfigSourceSpecifier, transport_socket::ConfigType,
            },
        },
        extensions::transport_sockets::tls::v3::{
            CommonTlsContext, SdsSecretConfig, UpstreamTlsContext, common_tls_context::ValidationContextType,
        },
    },
    google::protobuf::Any,
};
use prost::{Message, Name};
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;
use tokio::{process::Child, sync::watch, task::JoinHandle, time::timeout};

use crate::driver::{DEADLINE, ask_admin, free_address, run, serve, socket, version};

const SECRET: ResourceType = ResourceType::Secret;

/// A relay that knows one cluster, with its Envoy.
struct Vm {
    relay: Relay,
    served: watch::Sender<Arc<ResourceSet>>,
    ack_states: AckStates,
    admin: SocketAddr,
    server: JoinHandle<()>,
    _envoy: Child,
    _folder: TempDir,
}

impl Vm {
    async fn start(flavour: Flavour) -> Self {
        let (folder, admin) = (tempfile::tempdir().unwrap(), free_address().await);
        let (served, ack_states) = (watch::Sender::<Arc<ResourceSet>>::default(), AckStates::default());
        let server =
            serve(&socket(&folder), &served.subscribe(), &Proxies::default(), &ack_states, &Repairs::default());
        let bootstrap = Bootstrap {
            node: "sidecar~10.0.0.2~x~x".parse().unwrap(),
            ads_socket: socket(&folder),
            admin: Some(AdminAddress::Tcp(admin)),
            flavour,
            version: version(),
            peer_timeout: None,
            open_files: 4096,
            health_socket: None,
            tunnel_end: None,
        };
        let envoy = run(&folder, &bootstrap.to_json());
        let relay = Relay::new(RelaySettings::default(), Stored::default());
        let mut vm = Self { relay, served, ack_states, admin, server, _envoy: envoy, _folder: folder };
        for (kind, resources) in [
            (ResourceType::Cluster, vec![cluster()]),
            (ResourceType::Endpoints, vec![]),
            (ResourceType::Listener, vec![]),
        ] {
            let response = ResponseFromPilot {
                kind,
                nonce: "1".to_owned(),
                version: "1".to_owned(),
                resources,
                removed: Vec::new(),
                complete: true,
            };
            let step = vm.relay.receive(response, Instant::now(), &vm.ack_states);
            vm.publish(&step);
        }
        vm
    }

    fn publish(&self, step: &Step) {
        if step.served {
            self.served.send_replace(Arc::clone(self.relay.served()));
        }
    }

    fn hold(&mut self, secrets: &Secrets) {
        let step = self.relay.hold(secrets, Instant::now(), &self.ack_states);
        self.publish(&step);
    }

    /// Passes Envoy's answers to the relay until a condition holds.
    async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let mut changes = self.ack_states.changes();
        let waiting = async {
            loop {
                let step = self.relay.reconsider(Instant::now(), &self.ack_states);
                self.publish(&step);
                if holds(self) {
                    return;
                }
                changes.changed().await.unwrap();
            }
        };
        timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
    }

    /// Waits until Envoy has accepted the served secrets and uses the certificate of this number, and no other.
    async fn uses(&mut self, number: u8) {
        self.until("Envoy accepts the secrets", |vm| {
            let accepted = |one: &Arc<Resource>| vm.ack_states.of(SECRET, &one.name, &one.version) == AckState::Acked;
            vm.served.borrow().of(SECRET).len() == 2 && vm.served.borrow().of(SECRET).iter().all(accepted)
        })
        .await;
        let used = ask_admin(self.admin, "/certs").await;
        for other in 1..=4 {
            assert_eq!(used.contains(&format!("\"serial_number\": \"0{other}\"")), other == number, "{used}");
        }
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A cluster that needs both secrets.
fn cluster() -> Resource {
    let secret = |name: &str| SdsSecretConfig {
        name: name.to_owned(),
        sds_config: Some(ConfigSource {
            config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
            resource_api_version: ApiVersion::V3.into(),
            ..ConfigSource::default()
        }),
    };
    let tls = UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_certificate_sds_secret_configs: vec![secret("default")],
            validation_context_type: Some(ValidationContextType::ValidationContextSdsSecretConfig(secret("ROOTCA"))),
            ..CommonTlsContext::default()
        }),
        ..UpstreamTlsContext::default()
    };
    let tls = Any { type_url: UpstreamTlsContext::type_url(), value: tls.encode_to_vec() };
    let socket = TransportSocket { name: "tls".to_owned(), config_type: Some(ConfigType::TypedConfig(tls)) };
    let cluster = Cluster { name: "out.tls".to_owned(), transport_socket: Some(socket), ..Cluster::default() };
    Resource::new("out.tls", cluster.encode_to_vec())
}

/// A certificate of this serial number, with the key of it.
fn certificate(number: u8) -> Secrets {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["x.boshy".to_owned()]).unwrap();
    params.serial_number = Some(vec![number].into());
    let certificate = params.self_signed(&key).unwrap().pem();
    // The root has the number of no certificate that is used.
    params.serial_number = Some(vec![9].into());
    let roots = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    Secrets { certificates: certificate, private_key: key.serialize_pem().into(), roots }
}

async fn secrets_come_late_rotate_and_are_checked(flavour: Flavour) {
    let mut vm = Vm::start(flavour).await;
    vm.until("Envoy asks for secrets", |vm| vm.ack_states.subscribed(SECRET)).await;
    assert!(!vm.served.borrow().of(SECRET).is_known());
    vm.hold(&certificate(1));
    vm.uses(1).await;
    vm.hold(&certificate(2));
    vm.uses(2).await;

    let mismatch = Secrets { private_key: certificate(4).private_key, ..certificate(3) };
    vm.hold(&mismatch);
    vm.until("Envoy rejects the pair", |vm| vm.relay.nacks().any(|nack| &*nack.name == "default")).await;
    assert!(vm.relay.nacks().all(|nack| nack.reason.contains("KEY_VALUES_MISMATCH")));
    // In the state of the world a response stands or falls as a whole.
    assert_eq!(vm.relay.nacks().count(), if flavour == Flavour::Delta { 1 } else { 2 });
    vm.uses(2).await;

    let shown = ask_admin(vm.admin, "/config_dump?resource=dynamic_active_secrets").await;
    assert!(shown.contains("default") && !shown.contains("PRIVATE KEY"), "{shown}");
}

#[tokio::test]
async fn by_delta_secrets_come_late_rotate_and_are_checked() {
    secrets_come_late_rotate_and_are_checked(Flavour::Delta).await;
}

#[tokio::test]
async fn by_state_of_the_world_secrets_come_late_rotate_and_are_checked() {
    secrets_come_late_rotate_and_are_checked(Flavour::Sotw).await;
}
