//! An actor that panics is restarted, and no other part notices. The agent's actors that need an Envoy and rules are
//! tested in the lab.

use boshy_lab_director::Fault;
use boshy_supervision::ExitReason;
use boshy_tests::{Agent, AgentPlan, Director, Manifest, Operated, Pilot, dns::Answer, until, until_some};
use serde_json::{Value, json};

use crate::{BLOG, SHOP};

struct Mesh {
    director: Director,
    pilot: Pilot,
    agent: Agent,
}

fn mesh() -> Mesh {
    let director = Director::with([Manifest::of("shop")]);
    let pilot = director.pilot().starts();
    let agent = AgentPlan::of([&pilot]).starts();
    pilot.is_ready();
    agent.answers(SHOP, pilot.vip(SHOP));
    Mesh { director, pilot, agent }
}

impl Mesh {
    /// Makes an actor of one role panic while a name is asked for. Afterwards a change still propagates completely.
    fn bears_the_panic_of<R: Operated>(&self, role: impl Fn(&Self) -> &R, actor: &str) {
        let Self { director, pilot, agent } = self;
        let vip = pilot.vip(SHOP);
        let change = || {
            role(self).panics(actor);
            director.deploys(&Manifest::of("shop").instances(2)).deploys(&Manifest::of("blog"));
            pilot.serves(SHOP, 2);
            agent.answers(BLOG, pilot.vip(BLOG));
        };
        // A request to a server that falls may have to be repeated.
        let pages = |act: &dyn Fn()| if actor == "http_server" { act() } else { both_stay_ready(pilot, agent, act) };
        agent.never_fails(SHOP, vip, || pages(&change));
        assert_eq!(pilot.vip(SHOP), vip);
        assert_eq!(agent.asks_over_tcp(SHOP), Answer::address(vip));
        assert_eq!(agent.asks_handler(SHOP).json()["Status"], 0);
        let fallen = |status: &Value| {
            let children = status["actors"]["children"].as_array().expect("a list of actors").clone();
            let fallen = children.iter().filter(|child| child["restarts"] != 0);
            fallen.map(|child| child["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(fallen(&role(self).status()), [actor], "the others did not fall");
        assert_eq!([fallen(&pilot.status()), fallen(&agent.status())].concat(), [actor]);
        is_shown_and_counted(role(self), actor);
    }
}

/// Status and metrics describe a fall of any kind of child in the same words.
fn is_shown_and_counted<R: Operated>(role: &R, fallen: &str) {
    let tree = role.status()["actors"].clone();
    let kind = if ["convergence", "state_keeper"].contains(&fallen) { "task" } else { "actor" };
    let shown = child(&json!({ "actors": tree }), fallen).clone();
    assert_eq!(
        (&shown["kind"], &shown["state"], &shown["restarts"], &shown["last_exit"], &shown["stuck"]),
        (&json!(kind), &json!("running"), &json!(1), &json!("panicked: sabotage"), &Value::Null)
    );
    let labels = format!("{{tree={},child=\"{fallen}\"}}", tree["name"]);
    for (metric, value) in [("restarts_total", 1), ("running", 1), ("stuck", 0)] {
        role.measures(&format!("boshy_actor_{metric}{labels} {value}"));
    }
}

fn both_stay_ready(pilot: &Pilot, agent: &Agent, act: &dyn Fn()) {
    pilot.stays_ready(|| {
        agent.stays_ready(act);
    });
}

macro_rules! panics {
    ($($name:ident: $role:ident $actor:literal,)+) => {$(
        #[test]
        fn $name() {
            mesh().bears_the_panic_of(|mesh| &mesh.$role, $actor);
        }
    )+};
}

panics! {
    a_panic_of_the_virtual_ip_pool_moves_no_address: pilot "vip_pool",
    a_panic_of_the_registry_loses_no_service: pilot "service_registry",
    a_panic_of_the_poller_loses_no_change: pilot "director_poller",
    a_panic_of_the_pilots_xds_server_loses_no_change: pilot "xds_server",
    a_panic_of_what_measures_convergence_loses_no_change: pilot "convergence",
    a_panic_of_the_pilots_http_server_loses_no_page: pilot "http_server",
    a_panic_of_the_exchange_loses_no_name: agent "pilot_exchange",
    a_panic_of_who_writes_the_state_loses_no_name: agent "state_keeper",
    a_panic_of_the_dns_server_loses_no_question: agent "dns_server",
    a_panic_of_the_agents_http_server_loses_no_page: agent "http_server",
}

#[test]
fn facts_of_an_unreadable_deployment_survive_a_panic_of_the_poller() {
    let director = Director::with([Manifest::of("shop").instances(2), Manifest::of("blog")]);
    let pilot = director.pilot().starts();
    let vip = pilot.is_ready().serves(SHOP, 2).vip(SHOP);
    director.shows_manifest("shop", "instance_groups: [}");
    let unreadable = |status: &Value| status["deployments"][1]["error"].is_string();
    pilot.shows("shop is unreadable", unreadable).panics("director_poller");
    director.deploys(&Manifest::of("blog").instances(3));
    pilot.serves(BLOG, 3).serves(SHOP, 2).shows("shop is still unreadable", unreadable).is_ready();
    assert_eq!(pilot.vip(SHOP), vip);
}

#[test]
fn a_poller_that_begins_anew_with_an_empty_list_takes_neither_names_nor_readiness_back() {
    let Mesh { director, pilot, agent } = mesh();
    let (vip, generation) = (pilot.vip(SHOP), pilot.generation());
    pilot.stays_ready(|| {
        // Two rounds of three attempts, so that the empty list arrives in the second life.
        director.lists_with(Fault::Status(500), 6).lists_with(Fault::EmptyList, 7);
        pilot.complains("500").panics("director_poller").is_content();
        director.is_polled(2);
    });
    assert_eq!(pilot.generation(), generation);
    agent.answers(SHOP, vip);
}

/// The state of a child in a status.
fn child<'s>(status: &'s Value, name: &str) -> &'s Value {
    let children = status["actors"]["children"].as_array().expect("a list of actors");
    children.iter().find(|child| child["name"] == name).expect("an actor of this name")
}

#[test]
fn an_actor_that_hangs_is_named_by_health_and_status_although_it_holds_the_thread_of_all() {
    let Mesh { director: _director, pilot, agent } = mesh();
    let vip = pilot.vip(SHOP);
    // Longer than an actor may be silent. The registry runs on the thread of the pilot's tree.
    assert_eq!(pilot.http().post("/debug/stick/service_registry?seconds=40").unwrap().status, 200);
    assert_eq!(agent.http().post("/debug/stick/dns_server?seconds=40").unwrap().status, 200);
    for (process, stuck) in [(pilot.http(), "service_registry"), (agent.http(), "dns_server")] {
        let told = until_some(&format!("{stuck} is told"), || {
            let health = process.get("/healthz").ok()?;
            (health.status == 503).then_some(health.body)
        });
        assert!(told.starts_with(&format!("stuck: {stuck} has blocked its thread for ")), "{told}");
    }
    pilot.shows("the registry is stuck", |status| child(status, "service_registry")["stuck"].is_string());
    // Nothing was lost, and a child that is released is healthy again.
    until("all are well", || pilot.http().get("/healthz").map_or(0, |health| health.status), |status| *status == 200);
    agent.answers(SHOP, vip);
    pilot.shows("the registry is well", |status| child(status, "service_registry")["stuck"].is_null());
}

#[test]
fn an_unknown_actor_cannot_be_made_to_panic() {
    let Mesh { pilot, .. } = mesh();
    assert_eq!(pilot.http().post("/debug/panic/nobody").unwrap().status, 404);
}

#[test]
fn a_tree_whose_actors_panic_without_end_gives_up() {
    let Mesh { director: _director, pilot, agent } = mesh();
    let vip = pilot.vip(SHOP);
    // The tree tolerates ten restarts in a minute.
    let actors = ["vip_pool", "service_registry", "director_poller", "xds_server", "convergence", "http_server"];
    for actor in actors.iter().cycle().take(10) {
        pilot.panics(actor);
    }
    // The answer races with the end.
    let _ = pilot.http().post("/debug/panic/vip_pool");
    assert_eq!(pilot.ended(), Some(ExitReason::GaveUp));
    agent.answers(SHOP, vip);
}
