//! An agent outlives its pilots.

use boshy_tests::{AgentPlan, Director, Manifest, Operated};

use crate::{BLOG, SHOP};

#[test]
fn an_agent_restarted_without_a_pilot_answers_from_disk() {
    let director = Director::with([Manifest::of("shop")]);
    let pilot = director.pilot().starts();
    let agent = AgentPlan::of([&pilot]).starts();
    let vip = pilot.vip(SHOP);
    agent.answers(SHOP, vip).keeps(SHOP);
    let agent = agent.stops();
    pilot.stops();
    let agent = agent.starts();
    agent.answers(SHOP, vip).denies(BLOG);
    agent.shows("why there is no pilot", |status| status["pilot"]["error"].is_string()).is_ready();
}

#[test]
fn an_agent_goes_to_the_second_pilot_when_the_first_is_gone_and_no_question_is_lost() {
    let director = Director::with([Manifest::of("shop")]);
    let (first, second) = (director.pilot().starts(), director.pilot().starts());
    let agent = AgentPlan::of([&first, &second]).starts();
    let vip = first.vip(SHOP);
    second.is_ready();
    agent.answers(SHOP, vip).follows(&first).never_fails(SHOP, vip, || {
        first.stops();
        agent.follows(&second);
        director.deploys(&Manifest::of("blog"));
        agent.answers(BLOG, second.vip(BLOG));
    });
}

#[test]
fn an_agent_loses_no_name_while_its_only_pilot_is_gone() {
    let director = Director::with([Manifest::of("shop")]);
    let pilot = director.pilot().starts();
    let agent = AgentPlan::of([&pilot]).starts();
    let vip = pilot.vip(SHOP);
    agent.answers(SHOP, vip).never_fails(SHOP, vip, || {
        agent.stays_ready(|| {
            pilot.stops();
            agent.shows("the pilot is gone", |status| status["pilot"]["address"].is_null());
        });
    });
}

#[test]
fn an_agent_with_another_zone_or_range_than_its_pilot_says_so() {
    let director = Director::with([Manifest::of("shop")]);
    let pilot = director.pilot().starts();
    let lacks_settings = |status: &serde_json::Value| {
        let lacking = status["lacking"].as_array().expect("a list");
        lacking.iter().find(|lack| lack["what"] == "settings").map(|lack| lack["reason"].as_str().unwrap().to_owned())
    };
    let agent = AgentPlan::of([&pilot]).believing("mesh", "10.99.0.0/16").starts();
    agent.shows("it has other settings", |status| {
        lacks_settings(status).is_some_and(|reason| reason.contains("`tld` is mesh") && reason.contains("10.99.0.0/16"))
    });
    let agent = AgentPlan::of([&pilot]).starts();
    agent
        .answers(SHOP, pilot.vip(SHOP))
        .shows("its settings are the pilot's", |status| lacks_settings(status).is_none());
}

#[test]
fn a_filter_of_the_log_that_is_none_is_told_and_costs_nothing_else() {
    let director = Director::with([Manifest::of("shop")]);
    let pilot = director.pilot().starts();
    let agent = AgentPlan::of([&pilot]).logging_by("`a=b=c` is no filter").starts();
    agent.answers(SHOP, pilot.vip(SHOP)).is_ready().shows("it is told", |status| {
        let lack = &status["lacking"][0];
        lack["what"] == "log" && lack["remedy"].as_str().is_some_and(|remedy| remedy.contains("log.filter"))
    });
}
