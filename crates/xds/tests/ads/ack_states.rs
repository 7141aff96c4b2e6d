//! What is recorded of the ACKs and NACKs of each proxy.

use std::{sync::Arc, time::Duration};

use boshy_xds::{AckState, Patience, ResourceType};
use tokio::time::timeout;

use crate::{
    driver::{DEADLINE, Server, names},
    mesh::{service, snapshot},
};

#[tokio::test]
async fn a_refusal_is_shown_until_the_resource_is_mended() {
    let server = Server::start(snapshot(1, &[]), Patience::default()).await;
    let mut proxy = server.delta().await;
    proxy.ask(ResourceType::Listener).await;
    let first = proxy.next().await.unwrap();
    proxy.answer(&first, Some("no such filter")).await;
    let status = server.proxy(|proxy| proxy.types[&ResourceType::Listener].rejected.is_some()).await;
    assert_eq!(status.types[&ResourceType::Listener].rejected.as_ref().unwrap().reason, "no such filter");
    let refused = &first.resources[0];
    let ack_state = server.ack_states.of(ResourceType::Listener, &refused.name, &refused.version);
    assert_eq!(ack_state, AckState::Nacked("no such filter".into()));

    server.snapshots.send_replace(Arc::new(snapshot(2, &[service("web", 2, &[])])));
    let second = proxy.next().await.unwrap();
    assert_eq!(names(&second), ["tcp_169.254.255.2_9000"]);
    proxy.answer(&second, None).await;
    let status = server.proxy(|proxy| proxy.types[&ResourceType::Listener].accepted.is_some()).await;
    assert!(status.types[&ResourceType::Listener].rejected.is_some(), "one listener is still withheld");
}

#[tokio::test]
async fn a_generation_is_accepted_when_all_who_were_there_have_answered_also_who_has_nothing_to_change() {
    let server = Server::with_one_service().await;
    let (mut changing, mut same) = (server.delta().await, server.delta().await);
    for (proxy, kind) in [(&mut changing, ResourceType::Endpoints), (&mut same, ResourceType::Names)] {
        proxy.subscribe(kind, &["*"]).await;
        let first = proxy.next().await.unwrap();
        proxy.answer(&first, None).await;
    }
    assert_eq!(timeout(DEADLINE, server.proxies.accepted(1)).await.unwrap(), 2);
    assert_eq!(server.proxies.oldest(), Some(1));
    let second = tokio::spawn({
        let proxies = server.proxies.clone();
        async move { proxies.accepted(2).await }
    });
    server.snapshots.send_replace(Arc::new(snapshot(2, &[service("web", 2, &[None, None])])));
    let response = changing.next().await.unwrap();
    let one_behind = async {
        while server.proxies.behind(2) != 1 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(DEADLINE, one_behind).await.expect("who has nothing to change has accepted");
    assert!(!second.is_finished());
    assert_eq!(server.proxies.oldest(), Some(1), "one still has what the first generation led to");
    changing.answer(&response, None).await;
    assert_eq!(timeout(DEADLINE, second).await.unwrap().unwrap(), 2);
    assert_eq!(server.proxies.oldest(), Some(2));
}

#[tokio::test]
async fn a_generation_of_which_a_proxy_refuses_a_part_is_accepted_when_it_leaves() {
    let server = Server::with_one_service().await;
    let mut proxy = server.delta().await;
    proxy.ask(ResourceType::Names).await;
    let first = proxy.next().await.unwrap();
    proxy.answer(&first, Some("no")).await;
    server.proxy(|proxy| proxy.types.values().any(|kind| kind.rejected.is_some())).await;
    assert_eq!((server.proxies.behind(1), server.proxies.oldest()), (1, Some(0)));
    let accepted = tokio::spawn({
        let proxies = server.proxies.clone();
        async move { proxies.accepted(1).await }
    });
    drop(proxy);
    assert_eq!(timeout(DEADLINE, accepted).await.unwrap().unwrap(), 0);
    assert_eq!(server.proxies.oldest(), None);
}

#[tokio::test]
async fn a_proxy_that_refuses_what_it_had_accepted_is_behind_until_it_accepts_it_again() {
    let server = Server::with_one_service().await;
    let mut proxy = server.delta().await;
    proxy.ask(ResourceType::Listener).await;
    let [first, own] = proxy.shared_and_own().await;
    proxy.answer(&first, None).await;
    proxy.answer(&own, None).await;
    assert_eq!(timeout(DEADLINE, server.proxies.accepted(1)).await.unwrap(), 1);
    let name = first.resources[0].name.clone();
    let behind = async |count| {
        while server.proxies.behind(1) != count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    for (reason, count) in [(Some("cannot bind"), 1), (None, 0)] {
        proxy.subscribe(ResourceType::Listener, &[&name]).await;
        let again = proxy.next().await.unwrap();
        proxy.answer(&again, reason).await;
        timeout(DEADLINE, behind(count)).await.unwrap();
    }
}
