//! Answers DNS on this VM.
//!
//! The sockets outlive the actor: a question that arrives while this actor is restarted waits in the kernel's queue.

use std::{future::pending, sync::Arc};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, WrapFuture};
use boshy_dns::{Sockets, Stats, Zone, Zones, serve};
use boshy_mesh::{NameTable, Tld};
use boshy_supervision::Link;
use boshy_xds::{ResourceType, client::ExchangeStatus};
use tokio::sync::watch;

use crate::{
    name_gate::{Led, answerable},
    port::Port,
};

/// What the server is made of; it outlives the actor.
#[derive(Clone)]
pub(crate) struct Answering {
    /// Where it answers.
    pub(crate) sockets: Port<Sockets>,
    /// The zone that is answered from; this actor is the only writer.
    pub(crate) zones: Zones,
    /// Zone of the mesh.
    pub(crate) tld: Tld,
    /// The names that the proxy can serve.
    pub(crate) names: watch::Receiver<Arc<NameTable>>,
    /// From where connections are led to the proxy.
    pub(crate) led: watch::Receiver<Led>,
    /// What is answered. This actor is the only writer.
    pub(crate) answered: watch::Sender<Arc<NameTable>>,
    /// Tells whether a pilot has spoken of names at all: not known yet is not the same as an empty mesh.
    pub(crate) exchange: watch::Receiver<ExchangeStatus>,
    /// Counters.
    pub(crate) stats: Arc<Stats>,
}

/// See the module.
pub(crate) struct DnsServer {
    answering: Answering,
    link: Link,
}

impl DnsServer {
    /// A server for one life.
    pub(crate) fn new(answering: Answering, link: &Link) -> Self {
        Self { answering, link: link.clone() }
    }
}

impl Actor for DnsServer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let Answering { sockets, zones, stats, .. } = self.answering.clone();
        let serving = async move { serve(sockets.bound().await.as_ref().clone(), zones, stats, pending()).await };
        ctx.spawn(serving.into_actor(self).map(|ended, server, ctx| {
            if let Err(error) = ended {
                server.link.fail(ctx, error);
            }
        }));
        ctx.spawn(follow(self.answering.clone()).into_actor(self));
    }
}

/// Builds a zone for every name table that may be answered, once anything is known.
async fn follow(answering: Answering) {
    let Answering { zones, tld, mut names, mut led, mut exchange, answered, .. } = answering;
    let mut built: Option<Arc<NameTable>> = None;
    loop {
        let table = names.borrow_and_update().clone();
        let spoken = exchange.borrow_and_update().known.contains(&ResourceType::Names);
        let led_now = led.borrow_and_update().clone();
        let known = spoken || built.is_some() || !table.is_empty();
        match answerable(&table, &led_now).filter(|_| known) {
            Some(table) if built.as_ref() != Some(&table) => {
                let serial = zones.load().serial().wrapping_add(1);
                zones.store(Arc::new(Zone::build(&table, &tld, serial)));
                answered.send_replace(Arc::clone(&table));
                built = Some(table);
            }
            Some(_) => {}
            // They led to the proxy, and do no more. A name that exists must not be denied.
            None if built.take().is_some() => {
                zones.store(Arc::new(Zone::not_known_yet(&tld)));
                answered.send_replace(Arc::default());
            }
            None => {}
        }
        let gone = tokio::select! {
            changed = names.changed() => changed.is_err(),
            changed = led.changed() => changed.is_err(),
            changed = exchange.changed() => changed.is_err(),
        };
        if gone {
            return;
        }
    }
}
