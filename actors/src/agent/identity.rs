//! What the agent's tasks for its identity and its reports are made of.

use std::{path::PathBuf, sync::Arc};

use boshy_xds::agent::{ExchangeSettings, Spread, Uri};

use super::Agent;
use crate::{
    agent_state::AgentState,
    clock,
    identity_keeper::{IdentityKeeperParts, Pace},
    pilots::{PilotDesk, Pilots},
    reporter::{self, Desk, ReportedVm, ReporterParts},
};

impl Agent {
    pub(super) fn identity_file(&self) -> PathBuf {
        self.settings.state_dir.join("identity")
    }

    /// Without TLS a pilot cannot tell who asks it for a certificate.
    pub(super) fn identity_keeper(&self, state: &AgentState) -> Option<IdentityKeeperParts> {
        let tls = self.tls.clone()?;
        let exchange = state.outlets.status.subscribe();
        let pilots = Pilots {
            all: self.pilots.clone(),
            tls: tls.clone(),
            settings: self.exchange_settings(),
            voucher: self.settings.voucher.clone(),
            exchange: exchange.clone(),
        };
        Some(IdentityKeeperParts {
            file: self.identity_file(),
            id: self.settings.node.id.clone(),
            authority: Arc::new(pilots),
            tls: Some(tls),
            now: Arc::new(clock::now),
            pace: Pace::default(),
            held: state.held.clone(),
            trouble: Arc::clone(&state.uncertified),
            exchange,
            renew: Arc::clone(&state.renew),
        })
    }

    /// How this VM connects to pilots.
    pub(super) fn exchange_settings(&self) -> ExchangeSettings {
        ExchangeSettings { spread: Spread::of(&self.settings.node.id), ..ExchangeSettings::default() }
    }

    pub(super) fn reporter(&self, state: &AgentState) -> ReporterParts {
        let desk = |pilot: &Uri| {
            let desk = PilotDesk {
                pilot: pilot.clone(),
                tls: self.tls.clone(),
                settings: self.exchange_settings(),
                instance: self.settings.node.id.clone(),
                connection: state.connection.subscribe(),
                renew: Arc::clone(&state.renew),
            };
            Arc::new(desk) as Arc<dyn Desk>
        };
        let vm = ReportedVm {
            served: state.outlets.served.subscribe(),
            ack_states: state.ack_states.clone(),
            held: state.held.subscribe(),
            stopping: state.withdrawal.stopping(),
            now: Arc::new(clock::now),
        };
        ReporterParts {
            desks: self.pilots.iter().map(desk).collect(),
            vm,
            pace: reporter::Pace::default(),
            withdrawal: state.withdrawal.clone(),
        }
    }
}
