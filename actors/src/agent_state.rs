//! What the agent's actors share: the channels between them, and the results that they publish.
//!
//! It outlives the actors. Each value has one writer, which is named here; readers borrow or subscribe.

use std::{net::Ipv4Addr, sync::Arc};

use arc_swap::ArcSwap;
use boshy_dns::{CurrentZone, Stats, Zone};
use boshy_mesh::{NameTable, Tld};
use boshy_netfilter::Pairs;
use boshy_vm::NoAddress;
use boshy_web::status::{InspectionStatus, Lack, RulesStatus};
use boshy_xds::{
    AckStates, Proxies, Refusals, Repairs, ResourceSet,
    agent::{Kept, Outlets, PilotConnection, relay::Stored},
};
use tokio::sync::{Notify, watch};

use crate::{
    envoy_stop::EnvoyStop, held_identity::Held, identity_keeper, name_gate::Redirected, peer_watcher::Trouble,
    withdrawal::Withdrawal,
};

/// See the module's documentation. Clones share the state.
#[derive(Clone)]
pub(crate) struct AgentState {
    /// The VM's own address, by `address_finder`; `None` while there is none.
    pub(crate) address: watch::Sender<Option<Ipv4Addr>>,
    /// Why the VM has no address, by `address_finder`.
    pub(crate) missing: Arc<ArcSwap<Option<NoAddress>>>,
    /// Names, resources and state, by `pilot_exchange`; what is on disk, by `state_keeper`.
    pub(crate) outlets: Outlets,
    /// The connection of the stream to a pilot, by `pilot_exchange`.
    pub(crate) connection: watch::Sender<Option<PilotConnection>>,
    /// Why the state is not on disk, by `state_keeper`.
    pub(crate) unkept: Arc<ArcSwap<Option<String>>>,
    /// The VM's key and certificate, by `identity_keeper`.
    pub(crate) held: watch::Sender<Arc<Held>>,
    /// Told when a pilot wants the VM to have another certificate.
    pub(crate) renew: Arc<Notify>,
    /// Whether the VM is about to stop, and which pilots know.
    pub(crate) withdrawal: Withdrawal,
    /// Whether Envoy is about to stop.
    pub(crate) envoy_stop: EnvoyStop,
    /// Why there is no certificate or no newer one, by `identity_keeper`.
    pub(crate) uncertified: Arc<ArcSwap<identity_keeper::Trouble>>,
    /// What DNS answers, by `dns_server`.
    pub(crate) zones: CurrentZone,
    /// Names that DNS answers, by `dns_server`.
    pub(crate) answered: watch::Sender<Arc<NameTable>>,
    /// Counters of the DNS server.
    pub(crate) stats: Arc<Stats>,
    /// The addresses whose connections are redirected, by `netfilter_writer`.
    pub(crate) redirected: watch::Sender<Redirected>,
    /// The ports of this VM that are captured, by `netfilter_writer`.
    pub(crate) captured: watch::Sender<Arc<Pairs>>,
    /// The served set with the endpoints that `records.json` knows better, by `endpoint_follower`.
    pub(crate) followed: watch::Sender<Arc<ResourceSet>>,
    /// The set that Envoy is served, by `served_gate`.
    pub(crate) passed: watch::Sender<Arc<ResourceSet>>,
    /// State of rules and route, by `netfilter_writer`.
    pub(crate) rules: Arc<ArcSwap<RulesStatus>>,
    /// The connected Envoys, by `xds_server`.
    pub(crate) proxies: Proxies,
    /// What Envoy has acknowledged or rejected, by `xds_server`.
    pub(crate) ack_states: AckStates,
    /// Resources that `xds_server` has to send again, by `envoy_watcher`.
    pub(crate) repairs: Repairs,
    /// Tunnels that were not opened, by `xds_server`.
    pub(crate) refusals: Refusals,
    /// Why connections to vanished instances cannot be ended, by `peer_watcher`.
    pub(crate) peers: Arc<ArcSwap<Trouble>>,
    /// Whether Envoy is live, by `envoy_watcher`; `None` while its admin interface does not answer.
    pub(crate) live: Arc<ArcSwap<Option<bool>>>,
    /// What Envoy has, compared with what it acknowledged, by `envoy_watcher`.
    pub(crate) inspected: Arc<ArcSwap<InspectionStatus>>,
    /// What Envoy's job has set differently, by `envoy_watcher`.
    pub(crate) set_otherwise: Arc<ArcSwap<Option<String>>>,
    /// What the agent lacks, by `lookout`.
    pub(crate) lacking: Arc<ArcSwap<Vec<Lack>>>,
}

impl AgentState {
    /// The state at the start of a process, with what an earlier one has `stored`, and the identity that it `held`.
    pub(crate) fn new(tld: &Tld, stored: Option<Arc<Stored>>, held: Held) -> Self {
        let outlets = Outlets::default();
        if let Some(stored) = stored {
            outlets.names.send_replace(Arc::new(stored.answered()));
            outlets.stored.send_replace(stored);
        }
        outlets.kept.send_replace(Kept::State(outlets.stored.borrow().clone()));
        Self {
            address: watch::Sender::default(),
            missing: Arc::default(),
            outlets,
            connection: watch::Sender::default(),
            unkept: Arc::default(),
            held: watch::Sender::new(Arc::new(held)),
            renew: Arc::default(),
            withdrawal: Withdrawal::default(),
            envoy_stop: EnvoyStop::default(),
            uncertified: Arc::default(),
            zones: CurrentZone::new(Zone::not_known_yet(tld)),
            answered: watch::Sender::default(),
            stats: Arc::default(),
            redirected: watch::Sender::default(),
            captured: watch::Sender::default(),
            followed: watch::Sender::default(),
            passed: watch::Sender::default(),
            rules: Arc::default(),
            proxies: Proxies::default(),
            ack_states: AckStates::default(),
            repairs: Repairs::default(),
            refusals: Refusals::default(),
            peers: Arc::default(),
            live: Arc::default(),
            inspected: Arc::default(),
            set_otherwise: Arc::default(),
            lacking: Arc::default(),
        }
    }
}
