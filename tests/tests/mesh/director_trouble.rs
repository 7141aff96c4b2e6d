//! A director that does not answer as it should costs news, never what is known.

use std::time::Duration;

use boshy_director::embedded::Fault;
use boshy_tests::{AgentPlan, Director, Manifest, Operated, Pilot, dns::Rcode};

use crate::{BLOG, SHOP};

/// The pilot gives up waiting after a fraction of this.
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
fn a_steady_state_costs_the_director_a_list_and_the_new_events_each_round() {
    let director = Director::with([Manifest::of("shop"), Manifest::of("blog")]);
    let pilot = director.pilot().starts();
    pilot.is_ready();
    // The round that made it ready may still be under way.
    director.is_polled(2);
    let before = director.requests();
    let since = director.is_polled(10).requests_since(&before);
    let asked: Vec<_> = since.keys().copied().collect();
    assert_eq!(asked, ["GET /deployments", "GET /events"], "{since:?}");
    assert!(since["GET /events"].abs_diff(since["GET /deployments"]) <= 1, "{since:?}");
}
