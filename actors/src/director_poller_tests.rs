//! Tests the poller by its messages alone, with a director and a registry made of values.

use std::sync::Mutex;

use boshy_director::{
    observer::{ConfigsReading, Reading},
    wire::{DeploymentRow, InstanceRow},
};
use boshy_supervision::{ExitReason, Tree};

use super::*;

const MANIFEST: &str =
    "instance_groups: [{name: web, jobs: [{name: app, expose_ports: [{name: http, number: 8080}]}]}]";

/// The queries that the poller asked, the facts that it passed on, and whether the registry accepts them.
#[derive(Default)]
struct World {
    asked: Mutex<Vec<DirectorQuery>>,
    told: Mutex<Vec<Arc<Inventory>>>,
    refusals: Mutex<u32>,
}

impl World {
    fn parts(self: &Arc<Self>, file: PathBuf) -> DirectorPollerParts {
        let (asking, telling) = (Arc::clone(self), Arc::clone(self));
        let director = DirectorStatus { url: "https://director".into(), last_success: None, error: None };
        DirectorPollerParts {
            connect: Arc::new(move || {
                let asking = Arc::clone(&asking);
                Ok(Rc::new(move |query| {
                    asking.asked.lock().unwrap().push(query);
                    // The test answers with a message.
                    Box::pin(futures::future::pending()) as LocalBoxFuture<'static, DirectorReply>
                }) as Asker)
            }),
            observer: ObserverSettings::default(),
            tell: Arc::new(move |inventory, _| {
                telling.told.lock().unwrap().push(inventory);
                let mut refusals = telling.refusals.lock().unwrap();
                let refused = *refusals > 0;
                *refusals = refusals.saturating_sub(1);
                Box::pin(async move { if refused { Err("the pool is away".to_owned()) } else { Ok(()) } })
            }),
            unkept: Arc::default(),
            report: Arc::new(ArcSwap::from_pointee(PollReport {
                known: None,
                complete: false,
                director,
                deployments: Arc::default(),
                lacking: Vec::new(),
            })),
            file,
        }
    }

    fn asked(&self) -> Vec<DirectorQuery> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn services_told(&self) -> Vec<usize> {
        let told = self.told.lock().unwrap();
        told.iter().map(|inventory| inventory.deployments.len()).collect()
    }
}

fn no_configs() -> DirectorReply {
    DirectorReply::Configs(ConfigsReading { runtime: Ok(vec![]), cloud: Ok(vec![]), mesh: Ok(vec![]) })
}

fn listed(names: &[&str]) -> DirectorReply {
    let row = |name: &&str| DeploymentRow { name: (*name).to_owned(), ..DeploymentRow::default() };
    DirectorReply::Deployments(Ok(names.iter().map(row).collect()))
}

fn read(name: &str) -> DirectorReply {
    let instance = InstanceRow {
        job: "web".into(),
        index: Some(0),
        id: "uuid".into(),
        ips: vec!["10.0.0.1".into()],
        expects_vm: true,
        ..InstanceRow::default()
    };
    DirectorReply::Deployment(
        name.to_owned(),
        Reading { manifest: Ok(Some(MANIFEST.to_owned())), instances: Ok(vec![instance]), configs: None, links: None },
    )
}

/// Runs a test with a poller in a tree, in virtual time.
fn with_poller<F: Future<Output = ()>>(
    test: impl FnOnce(Arc<World>, DirectorPollerParts, ChildRef<DirectorPoller>) -> F,
) {
    let disk = tempfile::TempDir::new().unwrap();
    actix_rt::System::new().block_on(async {
        tokio::time::pause();
        let world = Arc::new(World::default());
        let parts = world.parts(disk.path().join("inventory"));
        let mut tree = Tree::new("test");
        let of_tree = parts.clone();
        let poller = tree.child("director_poller", move |link| DirectorPoller::new(of_tree.clone(), link)).add();
        assert_eq!(tree.run_until(test(world, parts, poller)).await, ExitReason::Normal);
    });
}

async fn says(poller: &ChildRef<DirectorPoller>, answer: DirectorReply) {
    poller.send(DirectorAnswered(answer)).await.unwrap();
}

#[test]
fn answers_in_any_order_become_an_inventory_that_is_told_once_it_is_complete() {
    with_poller(|world, parts, poller| async move {
        poller.send(PollNow).await.unwrap();
        let asked = world.asked();
        assert_eq!(asked[0], DirectorQuery::Deployments);
        let others = [DirectorQuery::Events { after: None }, DirectorQuery::Tasks { limit: 20, of_every_kind: false }];
        assert_eq!(asked[1..], others);
        says(&poller, DirectorReply::Tasks { limit: 20, of_every_kind: false, tasks: Ok(vec![]) }).await;
        says(&poller, listed(&["a", "b"])).await;
        assert_eq!(world.asked(), [DirectorQuery::Configs], "the list has told that the client may read everything");
        says(&poller, no_configs()).await;
        says(&poller, DirectorReply::Events(Ok((vec![], None)))).await;
        assert_eq!(world.asked(), [DirectorQuery::Deployment("a".into()), DirectorQuery::Deployment("b".into())]);
        says(&poller, read("b")).await;
        assert_eq!(world.services_told(), [0; 0]);
        says(&poller, read("a")).await;
        assert_eq!(world.services_told(), [2]);
        assert!(parts.report.load().complete);
    });
}

#[test]
fn what_the_registry_could_not_use_is_told_again_and_so_is_what_it_knows_now_and_then() {
    with_poller(|world, _, poller| async move {
        *world.refusals.lock().unwrap() = 1;
        poller.send(PollNow).await.unwrap();
        says(&poller, DirectorReply::Tasks { limit: 20, of_every_kind: false, tasks: Ok(vec![]) }).await;
        says(&poller, no_configs()).await;
        says(&poller, DirectorReply::Events(Ok((vec![], None)))).await;
        says(&poller, listed(&["a"])).await;
        says(&poller, read("a")).await;
        assert_eq!(world.services_told(), [1]);
        tokio::time::sleep(TURN * 3).await;
        assert_eq!(world.services_told(), [1, 1]);
        tokio::time::sleep(ObserverSettings::default().list).await;
        assert_eq!(world.services_told(), [1, 1, 1]);
    });
}

#[test]
fn it_looks_each_second_without_being_told_to() {
    with_poller(|world, _, poller| async move {
        poller.send(PollNow).await.unwrap();
        says(&poller, DirectorReply::Tasks { limit: 20, of_every_kind: false, tasks: Ok(vec![]) }).await;
        for _ in 0..5 {
            world.asked();
            says(&poller, DirectorReply::Events(Ok((vec![], None)))).await;
            tokio::time::sleep(Duration::from_millis(1_100)).await;
            let asked = world.asked();
            assert!(asked.iter().any(|query| matches!(query, DirectorQuery::Events { .. })), "{asked:?}");
        }
    });
}
