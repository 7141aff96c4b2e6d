//! Every name that an agent answers is on its disk: a power cut at any moment loses none.

use boshy_tests::{AgentPlan, Director, Manifest, Operated};

use crate::{BLOG, SHOP};

#[test]
fn a_name_that_was_answered_is_answered_after_a_power_cut_without_a_pilot() {
    let director = Director::with([Manifest::of("shop")]);
    let pilot = director.pilot().starts();
    let agent = AgentPlan::of([&pilot]).starts();
    agent.answers(SHOP, pilot.vip(SHOP));
    for number in 0..5 {
        let deployment = format!("blog-{number}");
        let host = format!("app.web.{deployment}.boshy");
        director.deploys(&Manifest::of(&deployment));
        agent.answers(&host, pilot.vip(&host));
        // The disk at this moment.
        let cut = agent.loses_power();
        let (shop, vip) = (pilot.vip(SHOP), pilot.vip(&host));
        let after = cut.without_pilots().starts();
        after.answers(SHOP, shop).answers(&host, vip);
        after.denies(BLOG);
    }
}

#[test]
fn the_pilot_is_told_that_an_agent_has_something_once_a_power_cut_would_not_take_it() {
    let director = Director::with([Manifest::of("shop")]);
    let pilot = director.pilot().starts();
    let agent = AgentPlan::of([&pilot]).starts();
    agent.answers(SHOP, pilot.vip(SHOP));
    director.deploys(&Manifest::of("blog"));
    pilot.serves(BLOG, 1).shows("the agent has accepted all", |status| {
        status["convergence"]["behind"] == 0 && status["convergence"]["generation"] == status["snapshot"]["generation"]
    });
    let after = agent.loses_power().without_pilots().starts();
    after.answers(BLOG, pilot.vip(BLOG));
}

#[test]
fn what_changed_before_a_panic_or_a_stop_is_on_disk() {
    let director = Director::with([Manifest::of("shop")]);
    let pilot = director.pilot().starts();
    let agent = AgentPlan::of([&pilot]).starts();
    let (shop, vip) = (pilot.vip(SHOP), {
        director.deploys(&Manifest::of("blog"));
        pilot.serves(BLOG, 1).vip(BLOG)
    });
    agent.answers(BLOG, vip).panics("pilot_exchange").panics("state_keeper").answers(SHOP, shop);
    director.deletes("blog");
    agent.denies(BLOG);
    let after = agent.stops().without_pilots().starts();
    after.answers(SHOP, shop).denies(BLOG);
}
