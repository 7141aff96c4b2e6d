//! What the agent serves over HTTP, and on which sockets.

use std::{collections::BTreeSet, sync::Arc};

use actix_web::web::ServiceConfig;
use boshy_config::AgentSettings;
use boshy_supervision::Tree;
use boshy_web::{
    agent::AgentView,
    handler::{self, HandlerView},
};

use super::Agent;
use crate::{
    agent_report::{Reports, Socket},
    agent_state::AgentState,
    http_server::{HttpSocket, Site},
    start,
};

impl Agent {
    /// Names of the pilots.
    pub(super) fn pilots(&self) -> BTreeSet<String> {
        self.pilots.iter().map(ToString::to_string).collect()
    }

    /// The sockets that another process may hold, and what is missing then.
    pub(super) fn sockets(&self) -> Vec<Socket> {
        let AgentSettings { dns, http, ads_socket, handler, .. } = &self.settings;
        let mut sockets = vec![
            Socket::new("dns", self.dns.clone(), dns.to_string(), "names of the mesh are not answered"),
            Socket::new("http", self.http.clone(), http.to_string(), "status and metrics cannot be read"),
            Socket::new("ads", self.ads.clone(), ads_socket.display().to_string(), "Envoy gets no configuration"),
        ];
        let no_handler = "bosh-dns handlers of source type http get no answer";
        let handler = handler.zip(self.handler.clone());
        sockets
            .extend(handler.map(|(address, socket)| Socket::new("handler", socket, address.to_string(), no_handler)));
        sockets
    }

    pub(super) fn sites(
        &self,
        state: &AgentState,
        reports: Arc<Reports>,
        asked: HandlerView,
        tree: &Tree,
    ) -> Vec<Site> {
        let view = AgentView { status: Arc::new(move || reports.report()), health: start::health(tree.vitals()) };
        let saboteur = self.settings.test_hooks.then(|| tree.saboteur());
        let mount = move |config: &mut ServiceConfig| {
            start::mount_test_hooks(config, saboteur.as_ref());
            boshy_web::agent::configure(config, &view);
        };
        let status = Site::new(HttpSocket::Tcp(self.http.clone()), mount.clone());
        let withdraw = state.withdrawal.at_desk(self.pilots());
        let take_notice = state.envoy_stop.at_desk(state.ack_states.clone(), state.captured.subscribe());
        let health = self.health.clone().map(|socket| {
            Site::new(HttpSocket::Unix(socket), move |config| {
                boshy_web::withdrawal::configure(config, &withdraw);
                boshy_web::envoy_stop::configure(config, &take_notice);
                mount(config);
            })
        });
        let answers = self.handler.clone().map(HttpSocket::Tcp);
        let answers = answers.map(|socket| Site::new(socket, move |config| handler::configure(config, &asked)));
        [Some(status), health, answers].into_iter().flatten().collect()
    }
}
