//! Answers DNS on this VM.
//!
//! The sockets are bound by the tree builder: a question that arrives while this actor is restarted waits in the kernel's queue.

use std::{future::pending, sync::Arc};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, WrapFuture};
use boshy_dns::{Sockets, Stats, Zone, Zones, serve};
use boshy_mesh::{NameTable, Tld};
use boshy_supervision::Link;
use tokio::sync::watch;

/// What the server is made of; it outlives the actor.
#[derive(Clone)]
pub struct Answering {
    /// Bound sockets.
    pub sockets: Sockets,
    /// The zone that is answered from; this actor is the only writer.
    pub zones: Zones,
    /// Zone of the mesh.
    pub tld: Tld,
    /// What is answered; `None` while nothing is known, which is not the same as an empty mesh.
    pub names: watch::Receiver<Option<Arc<NameTable>>>,
    /// Counters.
    pub stats: Arc<Stats>,
}

/// See the module.
pub struct DnsServer {
    answering: Answering,
    link: Link,
}

impl DnsServer {
    /// A server for one life.
    pub fn new(answering: Answering, link: &Link) -> Self {
        Self { answering, link: link.clone() }
    }
}

impl Actor for DnsServer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let Answering { sockets, zones, stats, .. } = self.answering.clone();
        let serving = serve(sockets, zones, stats, pending());
        ctx.spawn(serving.into_actor(self).map(|ended, server, ctx| {
            if let Err(error) = ended {
                server.link.fail(ctx, error);
            }
        }));
        ctx.spawn(follow(self.answering.clone()).into_actor(self));
    }
}

/// Builds a zone for every name table.
async fn follow(answering: Answering) {
    let Answering { zones, tld, mut names, .. } = answering;
    let mut serial = zones.load().serial();
    loop {
        let known = names.borrow_and_update().clone();
        if let Some(known) = known {
            serial = serial.wrapping_add(1);
            zones.store(Arc::new(Zone::build(&known, &tld, serial)));
        }
        if names.changed().await.is_err() {
            return;
        }
    }
}
