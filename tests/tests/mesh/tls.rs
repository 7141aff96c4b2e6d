//! Agent and pilot present certificates to each other, which are added, removed and replaced.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use boshy_tests::{AgentPlan, Authority, Director, Manifest, Operated, Papers, Pilot, until};
use serde_json::{Value, json};

use crate::SHOP;

/// It resolves on every machine, also to `::1`, on which no pilot listens.
const NAME: &str = "localhost";

fn director() -> Director {
    Director::with([Manifest::of("shop")])
}

fn agent_of(pilot: &Pilot, papers: &Papers) -> AgentPlan {
    AgentPlan::of([pilot]).over_tls(NAME, papers)
}

#[test]
fn a_pilot_found_by_name_and_an_agent_that_trust_each_other_work_together() {
    let (director, authority) = (director(), Authority::new());
    let pilot = director.pilot().over_tls(&authority.pilot(NAME)).starts();
    let agent = agent_of(&pilot, &authority.agent()).starts();
    agent.answers(SHOP, pilot.vip(SHOP)).is_ready();
    agent.shows("nothing is lacking", |status| status["lacking"] == json!([]));
    pilot.shows("whose certificate it is", |status| {
        status["proxies"][0]["tls"] == json!({"subject": "CN=agent", "workload": null})
    });
    pilot.shows("TLS is on", |status| status["xds"]["tls"] == true);
}

#[test]
fn an_agent_without_a_certificate_that_the_pilot_trusts_is_refused_and_told_why() {
    let (director, authority, other) = (director(), Authority::new(), Authority::new());
    let pilot = director.pilot().over_tls(&authority.pilot(NAME)).starts();
    let ours = authority.agent();
    for (stranger, reason, remedy) in [
        (other.agent().trusting(&ours), "untrusted", "Give this agent a certificate for clients"),
        (authority.agent_of_old(), "expired", "Renew this agent's certificate"),
        // A server certificate is not accepted for a client.
        (authority.pilot(NAME), "untrusted", "Give this agent a certificate for clients"),
    ] {
        let before = refused(&pilot, reason);
        let agent = agent_of(&pilot, &stranger).starts();
        agent.shows("what to do", |status| {
            let lack = &status["lacking"][0];
            lack["what"] == "pilot" && lack["remedy"].as_str().is_some_and(|told| told.starts_with(remedy))
        });
        until("it is counted", || refused(&pilot, reason), |count| *count > before);
    }
    // An agent without TLS.
    let agent = AgentPlan::of([&pilot]).starts();
    agent.shows("what to do", |status| {
        status["lacking"][0]["remedy"].as_str().is_some_and(|told| told.contains("write https://"))
    });
    until("it is counted", || refused(&pilot, "no_tls"), |count| *count > 0);
    assert_eq!(pilot.status()["proxies"], json!([]));
}

fn refused(pilot: &Pilot, reason: &str) -> u64 {
    pilot.status()["xds"]["refused"][reason].as_u64().expect("every reason has a count")
}

#[test]
fn a_pilot_that_the_agent_does_not_trust_gets_nothing_and_the_agent_says_why() {
    let (director, authority) = (director(), Authority::new());
    let ours = authority.agent();
    for (papers, remedy) in [
        (Authority::new().pilot(NAME).trusting(&ours), "Give this agent the CA that issued"),
        (authority.pilot_of_old(NAME), "Renew the pilot's certificate"),
        (authority.pilot("another.name"), "Name the pilot in `pilots` as its certificate does"),
    ] {
        let pilot = director.pilot().over_tls(&papers).starts();
        let agent = agent_of(&pilot, &ours).starts();
        agent.shows("what to do", |status| {
            status["pilot"]["remedy"].as_str().is_some_and(|told| told.starts_with(remedy))
        });
        assert_eq!(pilot.status()["proxies"], json!([]));
    }
    let plain = director.pilot().starts();
    let agent = agent_of(&plain, &ours).starts();
    agent.shows("that the pilot speaks without TLS", |status| {
        status["pilot"]["remedy"].as_str().is_some_and(|told| told.starts_with("Give the pilot a certificate"))
    });
}

#[test]
fn certificates_are_replaced_while_both_run_and_the_connection_stays() {
    let (director, old, new) = (director(), Authority::new(), Authority::new());
    let (of_pilot, of_agent) = (old.pilot(NAME), old.agent());
    let pilot = director.pilot().over_tls(&of_pilot).starts();
    let agent = agent_of(&pilot, &of_agent).starts();
    let vip = pilot.vip(SHOP);
    agent.answers(SHOP, vip);
    let since = agent.status()["pilot"]["connected_since"].clone();

    // A broken file changes nothing.
    of_pilot.write("certificate", "half a certif");
    let second = agent_of(&pilot, &old.agent()).starts();
    second.answers(SHOP, vip);

    new.renew_pilot(&of_pilot, NAME);
    new.renew_agent(&of_agent);
    let third = agent_of(&pilot, &new.agent()).starts();
    third.answers(SHOP, vip);
    let stale = agent_of(&pilot, &old.agent()).starts();
    stale.shows("old papers are refused", |status| status["pilot"]["error"].is_string());
    assert_eq!(agent.status()["pilot"]["connected_since"], since, "the rotation cost a connection");

    // When all connections end, agents with new certificates reconnect, and the others do not.
    pilot.panics("xds_server");
    let addressed = |status: &Value| status["pilot"]["address"].is_string();
    second.shows("its papers are refused", |status| status["lacking"][0]["what"] == "pilot");
    agent.shows("it is back", addressed);
    third.shows("it is back", addressed);
    pilot.shows("two are back", |status| status["proxies"].as_array().is_some_and(|proxies| proxies.len() == 2));
}

#[test]
fn an_agent_whose_papers_become_good_connects_by_itself() {
    let (director, authority) = (director(), Authority::new());
    let pilot = director.pilot().over_tls(&authority.pilot(NAME)).starts();
    let papers = authority.agent_of_old();
    let agent = agent_of(&pilot, &papers).starts();
    agent.shows("it is refused", |status| status["lacking"][0]["what"] == "pilot");
    authority.renew_agent(&papers);
    agent.answers(SHOP, pilot.vip(SHOP)).shows("nothing is lacking", |status| status["lacking"] == json!([]));
}

#[test]
fn a_name_that_does_not_resolve_is_a_normal_state() {
    let authority = Authority::new();
    let agent = AgentPlan::of_pilot_at("https://pilot.boshy.invalid:15010", &authority.agent()).starts();
    agent.shows("what to do", |status| {
        let lack = &status["lacking"][0];
        let reason = lack["reason"].as_str().unwrap_or_default();
        reason.contains("the name pilot.boshy.invalid does not resolve")
            && lack["remedy"].as_str().is_some_and(|told| told.contains("dig pilot.boshy.invalid"))
    });
    assert_eq!(agent.get("/healthz").status, 200);
}

#[test]
fn slow_handshakes_keep_nobody_out_not_even_of_their_address() {
    let (director, authority) = (director(), Authority::new());
    let pilot = director.pilot().over_tls(&authority.pilot(NAME)).starts();
    // More connections than one address may have. They are silent, and the oldest are closed for the agent, which has
    // the same address.
    let mut slow: Vec<_> = (0..300).map(|_| TcpStream::connect(pilot.xds_address()).unwrap()).collect();
    let agent = agent_of(&pilot, &authority.agent()).starts();
    agent.answers(SHOP, pilot.vip(SHOP));
    until("some were too many", || refused(&pilot, "too_many"), |count| *count >= 44);
    for mut silent in slow.drain(..) {
        silent.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        assert_eq!(silent.read(&mut [0; 16]).unwrap_or(0), 0, "a silent client is let go");
    }
    until("they are counted", || refused(&pilot, "slow"), |count| *count >= 7);
}

#[test]
fn the_api_over_https_is_the_one_over_http_and_speaks_http_1_1_only() {
    let (director, authority) = (director(), Authority::new());
    let papers = authority.pilot(NAME);
    let pilot = director.pilot().with_https(&papers).starts();
    pilot.serves(SHOP, 1);
    let asked = |protocols: &[&[u8]]| {
        let mut stream = authority.dial(pilot.https_address(), NAME, protocols);
        stream.write_all(b"GET /v1/registration HTTP/1.1\r\nHost: pilot\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    let body = pilot.get("/v1/registration").body;
    let answer = asked(&[b"h2", b"http/1.1"]).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(&body), "{answer}");
    assert!(asked(&[b"h2"]).is_err(), "HTTP/2 was agreed on");

    let renewed = Authority::new();
    renewed.renew_pilot(&papers, NAME);
    assert!(asked(&[b"http/1.1"]).is_err(), "the old certificate is still shown");
    let mut stream = renewed.dial(pilot.https_address(), NAME, &[b"http/1.1"]);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: pilot\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("ok\n"), "{answer}");
}

#[test]
fn a_disk_that_takes_nothing_is_told_and_used_once_it_does() {
    let director = director();
    let pilot = director.pilot().starts();
    let plan = AgentPlan::of([&pilot]).without_disk();
    let agent = plan.starts();
    agent.answers(SHOP, pilot.vip(SHOP)).shows("the disk is lacking", |status| {
        let lack = &status["lacking"][0];
        lack["what"] == "disk" && lack["remedy"].as_str().is_some_and(|told| told.starts_with("Make "))
    });
    agent.has_a_disk_again().keeps(SHOP).shows("nothing is lacking", |status| status["lacking"] == json!([]));
}
