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
