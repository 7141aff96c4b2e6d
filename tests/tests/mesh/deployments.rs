//! Every deployed service is reachable by name from every VM.

use boshy_tests::{
    AgentPlan, Director, Manifest, Operated,
    dns::{Answer, Rcode},
};
use serde_json::json;

use crate::{BLOG, SHOP};

#[test]
fn a_deployed_service_is_answered_by_udp_tcp_and_the_bosh_dns_handler_alike() {
    let director = Director::with([Manifest::of("shop")]);
    let pilot = director.pilot().starts();
    let agent = AgentPlan::of([&pilot]).starts();
    let vip = pilot.vip(SHOP);
    agent.answers(SHOP, vip).is_ready();
    assert_eq!(agent.asks_over_tcp(SHOP), Answer::address(vip));
    assert_eq!(agent.asks_over_tcp(&SHOP.to_uppercase()), Answer::address(vip));
    let handler = agent.asks_handler(SHOP).json();
    assert_eq!((&handler["Status"], &handler["Answer"][0]["data"]), (&0.into(), &vip.to_string().into()));
    assert_eq!(agent.status()["names"]["answered"], json!({SHOP: vip}));
    assert_eq!(agent.asks(BLOG).rcode, Rcode::NxDomain);
    assert_eq!(agent.asks_handler(BLOG).json()["Status"], 3);
}

#[test]
fn the_pilot_shows_a_service_in_the_v1_api_and_in_its_status() {
    let director = Director::with([Manifest::of("shop").instances(2)]);
    let pilot = director.pilot().starts();
    let vip = pilot.is_ready().vip(SHOP);
    let (first, second) = ("10.244.0.126", "10.244.0.127");
    let registration = pilot.get("/v1/registration").json();
    assert_eq!(registration[0]["service-key"], format!("{SHOP}|http"));
    let hosts = registration[0]["hosts"].as_array().unwrap();
    assert_eq!(hosts.iter().map(|host| &host["ip_address"]).collect::<Vec<_>>(), [first, second]);
    let one = pilot.get(&format!("/v1/registration/{SHOP}|http")).json();
    let hosts: Vec<_> = one["hosts"].as_array().unwrap().iter().map(|host| &host["ip_address"]).collect();
    assert_eq!(hosts, [first, second]);
    let service = &pilot.status()["services"][0];
    assert_eq!(service["host"], SHOP);
    assert_eq!(service["vip"], vip.to_string());
    assert_eq!(service["ports"], json!([{"name": "http", "number": 8080, "protocol": "tcp"}]));
    let endpoint = |ip: &str| json!({"ip": ip, "az": "z1", "withdrawn": false});
    assert_eq!(service["endpoints"], json!([endpoint(first), endpoint(second)]));
    assert_eq!(pilot.status()["director"]["error"], json!(null));
}

#[test]
fn scaling_adding_and_deleting_reach_the_agent_and_a_deleted_name_becomes_nxdomain() {
    let director = Director::with([Manifest::of("shop")]);
    let pilot = director.pilot().starts();
    let agent = AgentPlan::of([&pilot]).starts();
    let shop = pilot.vip(SHOP);
    agent.answers(SHOP, shop).denies(BLOG);

    director.deploys(&Manifest::of("shop").instances(3));
    pilot.serves(SHOP, 3);
    assert_eq!(pilot.vip(SHOP), shop, "scaling moves no address");

    director.deploys(&Manifest::of("blog"));
    let blog = pilot.vip(BLOG);
    assert_ne!(blog, shop);
    agent.answers(BLOG, blog).answers(SHOP, shop);

    director.deletes("shop");
    agent.denies(SHOP).answers(BLOG, blog);
    assert_eq!(agent.asks_over_tcp(SHOP).rcode, Rcode::NxDomain);
    assert_eq!(agent.asks_handler(SHOP).json()["Status"], 3);
    pilot.lacks(SHOP).measures("boshy_vips_resting 1");
}
