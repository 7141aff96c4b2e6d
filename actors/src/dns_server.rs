//! Answers DNS questions on this VM.
//!
//! The sockets outlive the actor: a question that arrives during a restart waits in the kernel's queue. So does the
//! zone, which every life finds as the previous one left it.

use std::{future::pending, sync::Arc};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use boshy_dns::{CurrentZone, Sockets, Stats, Zone, serve};
use boshy_mesh::{NameTable, Tld};
use boshy_supervision::{ChildRef, Heart, Link};
use boshy_xds::{ResourceType, agent::Outlets};
use tokio::sync::watch;
use tracing::warn;

use crate::{
    name_gate::{Redirected, answerable},
    server_socket::ServerSocket,
};

/// The names, or the names that are about to be answered, have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub(crate) struct ZoneChanged {
    /// Names that may be answered; `None` while it is unknown where connections to their addresses lead.
    pub(crate) names: Option<Arc<NameTable>>,
    /// Names that exist but are not reachable yet; a question for one of them waits.
    pub(crate) awaited: NameTable,
}

/// Configuration and channels of the server; they outlive the actor.
#[derive(Clone)]
pub(crate) struct DnsServerParts {
    /// Sockets of the server.
    pub(crate) sockets: ServerSocket<Sockets>,
    /// The zone that is served; this actor is the only writer.
    pub(crate) zones: CurrentZone,
    /// Zone of the mesh.
    pub(crate) tld: Tld,
    /// Names that are answered. This actor is the only writer.
    pub(crate) answered: watch::Sender<Arc<NameTable>>,
    /// Counters.
    pub(crate) stats: Arc<Stats>,
}

/// See the module's documentation.
pub(crate) struct DnsServer {
    parts: DnsServerParts,
    link: Link,
}

impl DnsServer {
    /// A server for one life.
    pub(crate) fn new(parts: DnsServerParts, link: &Link) -> Self {
        Self { parts, link: link.clone() }
    }
}

impl Actor for DnsServer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let DnsServerParts { sockets, zones, stats, .. } = self.parts.clone();
        let serving = async move { serve(sockets.bound().await.as_ref().clone(), zones, stats, pending()).await };
        ctx.spawn(serving.into_actor(self).map(|ended, server, ctx| {
            if let Err(error) = ended {
                server.link.fail(ctx, error);
            }
        }));
    }
}

impl Handler<ZoneChanged> for DnsServer {
    type Result = ();

    fn handle(&mut self, ZoneChanged { names, awaited }: ZoneChanged, _: &mut Context<Self>) {
        let DnsServerParts { zones, tld, answered, .. } = &self.parts;
        let zone = match &names {
            Some(names) => Zone::build(names, tld, zones.load().serial().wrapping_add(1)).awaiting(&awaited),
            // The names led to the proxy and do so no more. A name that exists must not be denied.
            None => Zone::not_known_yet(tld),
        };
        zones.store(zone);
        answered.send_replace(names.unwrap_or_default());
    }
}

/// Passes the changes from the exchange and the rule writer to the server, whenever they differ from the last ones.
pub(crate) async fn tell(
    (outlets, mut redirected): (Outlets, watch::Receiver<Redirected>),
    server: ChildRef<DnsServer>,
    heart: Heart,
) {
    let (mut names, mut stored, mut status) =
        (outlets.names.subscribe(), outlets.stored.subscribe(), outlets.status.subscribe());
    let mut told = None;
    loop {
        let (names_now, waiting) = (names.borrow_and_update().clone(), stored.borrow_and_update().waiting());
        let spoken = status.borrow_and_update().known.contains(&ResourceType::Names);
        let now = zone_change(spoken || told.is_some(), &names_now, &waiting, &redirected.borrow_and_update());
        if let Some(now) = now.filter(|now| told.as_ref().map_or(now.names.is_some(), |told| told != now)) {
            match heart.rest(server.send(now.clone())).await {
                Ok(()) => told = Some(now),
                Err(error) => warn!(%error, "the DNS server was not told of other names"),
            }
        }
        let changed = async {
            tokio::select! {
                changed = names.changed() => changed,
                changed = stored.changed() => changed,
                changed = status.changed() => changed,
                changed = redirected.changed() => changed,
            }
        };
        if heart.rest(changed).await.is_err() {
            return;
        }
    }
}

/// The message to the server; `None` while nothing is known, which differs from an empty mesh.
fn zone_change(
    spoken: bool,
    names: &Arc<NameTable>,
    waiting: &NameTable,
    redirected: &Redirected,
) -> Option<ZoneChanged> {
    if !spoken && names.is_empty() && waiting.is_empty() {
        return None;
    }
    let answerable = answerable(names, redirected);
    let not_led =
        names.iter().filter(|(host, _)| answerable.as_ref().is_some_and(|names| names.get(host.as_str()).is_none()));
    let awaited = waiting.iter().chain(not_led).map(|(host, vip)| (host.clone(), vip)).collect();
    Some(ZoneChanged { names: answerable, awaited })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]
mod tests {
    use std::time::Duration;

    use boshy_mesh::Hostname;
    use boshy_supervision::Tree;
    use tokio::{net::UdpSocket, sync::oneshot, time::timeout};

    use super::*;

    fn table(names: &[&str]) -> NameTable {
        names.iter().map(|name| (Hostname::parse(name).unwrap(), [169, 254, 255, 9].into())).collect()
    }

    #[test]
    fn nothing_is_told_before_anything_is_known_and_an_empty_mesh_is_something() {
        let (none, one) = (Arc::<NameTable>::default(), Arc::new(table(&["a.b.c.boshy"])));
        assert_eq!(zone_change(false, &none, &NameTable::default(), &Redirected::Elsewhere), None);
        let empty = ZoneChanged { names: Some(Arc::clone(&none)), awaited: NameTable::default() };
        assert_eq!(zone_change(true, &none, &NameTable::default(), &Redirected::Elsewhere), Some(empty));
        assert_eq!(
            zone_change(false, &one, &NameTable::default(), &Redirected::Elsewhere).unwrap().names,
            Some(Arc::clone(&one))
        );
        assert_eq!(zone_change(true, &one, &NameTable::default(), &Redirected::Unknown).unwrap().names, None);
    }

    #[test]
    fn a_name_whose_address_leads_nowhere_yet_is_awaited_like_one_that_the_proxy_has_not_accepted() {
        let names = Arc::new(table(&["a.b.c.boshy"]));
        let changed = zone_change(true, &names, &table(&["d.b.c.boshy"]), &Redirected::From(Arc::default())).unwrap();
        assert_eq!(changed.names, Some(Arc::default()));
        assert_eq!(changed.awaited, table(&["a.b.c.boshy", "d.b.c.boshy"]));
    }

    /// Asks a question, and returns the rcode and the last octet of the first address.
    async fn asks(client: &UdpSocket, host: &str) -> (u8, u8) {
        let mut packet = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0".to_vec();
        for label in host.split('.') {
            packet.push(label.len() as u8);
            packet.extend(label.bytes());
        }
        packet.extend([0, 0, 1, 0, 1]);
        client.send(&packet).await.unwrap();
        let mut answer = [0; 512];
        let length = timeout(Duration::from_secs(20), client.recv(&mut answer)).await.unwrap().unwrap();
        (answer[3] & 15, answer[length - 1])
    }

    #[actix::test]
    async fn it_is_driven_by_messages_alone() {
        let sockets = Sockets::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(sockets.address()).await.unwrap();
        let tld = Tld::default();
        let parts = DnsServerParts {
            sockets: ServerSocket::of(sockets),
            zones: CurrentZone::new(Zone::not_known_yet(&tld)),
            tld,
            answered: watch::Sender::new(Arc::default()),
            stats: Arc::default(),
        };
        let mut tree = Tree::new("test");
        let server = tree.child("dns_server", move |link| DnsServer::new(parts.clone(), link)).add();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = actix::spawn(tree.run_until(async { drop(stopped.await) }));

        let both = ZoneChanged { names: Some(Arc::new(table(&["a.b.c.boshy"]))), awaited: table(&["d.b.c.boshy"]) };
        let (waited, told) = tokio::join!(asks(&client, "a.b.c.boshy"), server.send(both));
        told.unwrap();
        assert_eq!(waited, (0, 9), "what was asked before anything was known");
        assert_eq!(asks(&client, "e.b.c.boshy").await.0, 3);
        let later = ZoneChanged { names: Some(Arc::new(table(&["d.b.c.boshy"]))), awaited: NameTable::default() };
        let (waited, told) = tokio::join!(asks(&client, "d.b.c.boshy"), server.send(later));
        told.unwrap();
        assert_eq!(waited, (0, 9), "what was awaited");
        assert_eq!(asks(&client, "a.b.c.boshy").await.0, 3);
        drop(stop);
        running.await.unwrap();
    }
}
