//! A director that does not answer correctly costs news, but no known facts.

use std::time::{Duration, Instant};

use boshy_lab_director::{Account, Authentication, Fault};
use boshy_tests::{AgentPlan, Director, Manifest, Operated, Pilot, dns::Rcode};

use crate::{BLOG, SHOP};

/// The pilot's timeout is a fraction of this.
const LATE: Duration = Duration::from_secs(3);

/// A director with `shop`, and a pilot that has read it.
fn known_shop() -> (Director, Pilot) {
    let director = Director::with([Manifest::of("shop")]);
    let pilot = director.pilot().patient_for(Duration::from_millis(300)).starts();
    pilot.is_ready().serves(SHOP, 1);
    (director, pilot)
}

fn survives(fault: Fault, shown: &str) {
    let (director, pilot) = known_shop();
    let (generation, registration) = (pilot.generation(), pilot.get("/v1/registration"));
    pilot.stays_ready(|| {
        director.fails(fault);
        pilot.complains(shown).measures("boshy_director_failing 1");
        assert_eq!((pilot.generation(), pilot.get("/v1/registration")), (generation, registration));
        director.heals().deploys(&Manifest::of("blog"));
        pilot.serves(BLOG, 1).serves(SHOP, 1).is_content().measures("boshy_director_failing 0");
    });
}

#[test]
fn a_director_that_refuses_connections_costs_nothing_that_is_known() {
    survives(Fault::ConnectionRefused, "refused");
}

#[test]
fn a_director_that_is_too_slow_costs_nothing_that_is_known() {
    survives(Fault::Delay(LATE), "300ms");
}

#[test]
fn a_director_that_refuses_the_credentials_costs_nothing_that_is_known() {
    survives(Fault::Status(401), "not authorized");
}

#[test]
fn a_director_with_an_inner_error_costs_nothing_that_is_known() {
    survives(Fault::Status(500), "500");
}

#[test]
fn a_body_that_ends_early_costs_nothing_that_is_known() {
    survives(Fault::TruncatedBody, "cannot list the deployments: no answer");
}

#[test]
fn a_body_that_is_no_json_costs_nothing_that_is_known() {
    survives(Fault::NotJson, "the answer is not what was expected");
}

#[test]
fn before_the_first_complete_read_nobody_is_told_that_the_mesh_is_empty() {
    let director = Director::with([Manifest::of("shop")]);
    director.fails(Fault::Status(500));
    let pilot = director.pilot().starts();
    let agent = AgentPlan::of([&pilot]).starts();
    pilot.complains("500").waits_for("the director was not read completely yet");
    assert_eq!(pilot.get("/v1/registration").status, 503);
    agent.follows(&pilot).waits_for("no pilot has told all names yet");
    assert_eq!(agent.asks(SHOP).rcode, Rcode::ServFail, "not known yet is not the same as gone");
    assert_eq!(agent.asks_handler(SHOP).status, 503);
    director.heals();
    agent.answers(SHOP, pilot.vip(SHOP)).is_ready();
    pilot.is_ready();
}

#[test]
fn an_empty_list_of_deployments_is_believed_only_when_a_second_one_says_the_same() {
    let (director, pilot) = known_shop();
    let generation = pilot.generation();
    pilot.stays_ready(|| {
        director.lists_with(Fault::EmptyList, 1).is_polled(4);
        assert_eq!(pilot.generation(), generation, "one empty list changed nothing, not even for a moment");
        director.lists_nothing();
        pilot.lacks(SHOP);
    });
    assert_eq!(pilot.generation(), generation + 1);
}

#[test]
fn a_steady_state_costs_the_director_a_list_and_the_news_each_round() {
    let director = Director::with([Manifest::of("shop"), Manifest::of("blog")]);
    let pilot = director.pilot().starts();
    pilot.is_ready();
    // The round that made it ready may still be in progress.
    director.is_polled(2);
    let before = director.requests();
    let since = director.is_polled(10).requests_since(&before);
    let asked: Vec<_> = since.keys().copied().collect();
    assert_eq!(asked, ["GET /deployments", "GET /events", "GET /locks", "GET /tasks"], "{since:?}");
    assert!(since.values().all(|count| count.abs_diff(since["GET /deployments"]) <= 2), "{since:?}");
}

/// Longer than any test takes.
const NEVER: Duration = Duration::from_secs(600);

fn restarts(pilot: &Pilot) -> Vec<u64> {
    let children = pilot.status()["actors"]["children"].as_array().expect("a list of actors").clone();
    children.iter().map(|child| child["restarts"].as_u64().expect("a number")).collect()
}

#[test]
fn a_client_that_sees_less_costs_nothing_that_is_known_and_a_fresh_pilot_is_not_ready() {
    let account = || vec![Account::reader("mesh", "secret")];
    let uaa = Authentication::Uaa { clients: account(), token_lifetime: Duration::from_secs(120) };
    for authentication in [Authentication::Basic(account()), uaa] {
        let director = Director::asking(authentication);
        director.deploys(&Manifest::of("shop")).deploys(&Manifest::of("blog")).gives("blog", "bloggers");
        let pilot = director.pilot().starts();
        pilot.is_ready().serves(SHOP, 1).serves(BLOG, 1);
        let generation = pilot.generation();
        // A part of the list, an empty list, and no list.
        for scope in ["bosh.teams.bloggers.admin", "bosh.teams.nobodys.admin", "bosh.teams.bloggers.read"] {
            pilot.stays_ready(|| {
                director.grants("mesh", &[scope]);
                pilot.complains("needs the scope bosh.read");
                let lacking = pilot.status()["lacking"].to_string();
                assert!(lacking.contains("bosh.read"), "{lacking}");
                assert_eq!(pilot.generation(), generation, "{scope}");
            });
            director.pilot().starts().waits_for("needs the scope bosh.read");
        }
        director.grants("mesh", &["bosh.read"]);
        pilot.is_content().shows("nothing is lacking", |status| status["lacking"] == serde_json::json!([]));
        assert_eq!(pilot.generation(), generation);
    }
}

#[test]
fn a_half_empty_answer_is_believed_only_when_a_second_one_says_the_same() {
    let (director, pilot) = known_shop();
    let generation = pilot.generation();
    let no_vms = r#"[{"agent_id":null,"cid":null,"job":"web","index":0,"id":"x","az":"z1","ips":[],"vm_created_at":null,"expects_vm":false}]"#;
    for (route, fault) in [
        ("GET /deployments/shop", Fault::Body(r#"{"manifest":""}"#.to_owned())),
        ("GET /deployments/shop", Fault::Body("{}".to_owned())),
        ("GET /deployments/shop", Fault::Body(r#"{"manifest":"instance_groups: []"}"#.to_owned())),
        ("GET /deployments/shop", Fault::Gone),
        ("GET /deployments/shop/instances", Fault::EmptyList),
        ("GET /deployments/shop/instances", Fault::Body(no_vms.to_owned())),
    ] {
        // A deploy without changes makes the pilot read it; the reading is corrupted once.
        let before = director.requests();
        director.fails_at(route, fault.clone(), Some(1)).deploys(&Manifest::of("shop"));
        let read_again = || director.requests_since(&before).get("GET /deployments/:name/instances").copied();
        boshy_tests::until("it is read again", read_again, |count| count.is_some_and(|count| count >= 2));
        director.is_polled(5);
        assert_eq!(pilot.generation(), generation, "{route}: {fault:?}");
        director.heals();
    }
    director.fails_at("GET /deployments/shop", Fault::Body(r#"{"manifest":""}"#.to_owned()), None);
    director.deploys(&Manifest::of("shop"));
    pilot.lacks(SHOP);
}

#[test]
fn a_deploy_is_seen_within_two_seconds_of_its_end_with_and_without_events() {
    let director = Director::with([Manifest::of("shop")]);
    let pilot = director.pilot().at_the_usual_pace().starts();
    pilot.is_ready();
    let mut seen_after = |instances: u32| {
        let begun = Instant::now();
        director.deploys(&Manifest::of("shop").instances(instances));
        pilot.serves(SHOP, usize::try_from(instances).expect("a small number"));
        begun.elapsed()
    };
    // The machine may be busy for a moment, but the pilot polls every second.
    let fastest = (2..5).map(&mut seen_after).min().expect("three");
    assert!(fastest < Duration::from_secs(2), "{fastest:?}");
    director.stops_recording_events();
    // The first change shows the pilot that it has to use another source.
    (5..6).map(&mut seen_after).for_each(drop);
    pilot.serves(SHOP, 5);
    let fastest = (6..10).map(&mut seen_after).min().expect("four");
    assert!(fastest < Duration::from_secs(2), "{fastest:?}");
}

#[test]
fn a_deployment_whose_manifest_is_never_answered_holds_up_no_other() {
    let director = Director::with([Manifest::of("shop")]);
    director.deploys(&Manifest::of("stuck"));
    director.fails_at("GET /deployments/stuck", Fault::Delay(NEVER), None);
    let pilot = director.pilot().patient_for(Duration::from_secs(20)).starts();
    director.is_polled(3).deploys(&Manifest::of("blog"));
    let before = director.lists();
    pilot.shows("the others are read meanwhile", |status| {
        let read = |name: &str| {
            let deployments = status["deployments"].as_array().expect("a list");
            deployments.iter().any(|deployment| deployment["name"] == name && !deployment["last_good"].is_null())
        };
        read("shop") && read("blog") && !read("stuck")
    });
    assert!(director.lists() < before + 150, "long before the time-out");
    assert!(restarts(&pilot).iter().all(|count| *count == 0));
}

#[test]
fn an_odd_number_is_an_error_of_its_answer_and_no_panic() {
    let clients = vec![Account::reader("mesh", "secret")];
    let director = Director::asking(Authentication::Uaa { clients, token_lifetime: Duration::from_secs(120) });
    director.deploys(&Manifest::of("shop"));
    let token = r#"{"access_token":"x","token_type":"bearer","expires_in":18446744073709551615}"#;
    director.fails_at("POST /oauth/token", Fault::Body(token.to_owned()), None);
    let pilot = director.pilot().starts();
    pilot.complains("18446744073709551615").waits_for("expires_in");
    director.heals();
    pilot.is_ready().serves(SHOP, 1);
    let event =
        r#"[{"id":"9","timestamp":-9223372036854775808,"object_type":"vm","action":"create","deployment":"shop"}]"#;
    director.fails_at("GET /events", Fault::Body(event.to_owned()), None);
    pilot.complains("-9223372036854775808");
    director.deploys(&Manifest::of("shop").instances(2));
    pilot.serves(SHOP, 2);
    director.pilot().starts().is_ready().serves(SHOP, 2);
    assert!(restarts(&pilot).iter().all(|count| *count == 0), "nothing fell");
}
