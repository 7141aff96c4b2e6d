//! Tests the endpoints for operators and monit.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_web::{http::Method, test::TestRequest};
use boshy_mesh::MeshSnapshot;
use boshy_web::{
    agent::{self, AgentView},
    pilot,
    status::Readiness,
    test_hooks::{self, Fault},
};
use serde_json::{Value, json};

use crate::{
    client::{Seen, client},
    identity::standing,
    samples::{self, agent_status, orchard},
};

fn get(uri: &str) -> TestRequest {
    TestRequest::get().uri(uri)
}

pub(crate) fn agent() -> AgentView {
    AgentView { status: Arc::new(agent_status), health: Arc::new(|| Ok(())) }
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[actix_web::test]
async fn a_pilot_is_healthy_before_it_is_ready() {
    let (sender, view) = samples::pilot(Arc::new(MeshSnapshot::default()));
    let ask = client!(move |config| pilot::configure(config, &view));
    assert_eq!(ask(get("/healthz")).await, Seen::text(200, "ok\n"));
    assert_eq!(ask(get("/readyz")).await, Seen::text(503, "not ready: the director has not been read yet"));
    sender.send_replace(orchard());
    assert_eq!(ask(get("/readyz")).await, Seen::text(200, "ready\n"));
}

#[actix_web::test]
async fn an_agent_says_what_it_waits_for() {
    let connected = Arc::new(AtomicBool::new(false));
    let envoy = Arc::clone(&connected);
    let report = move || {
        let mut status = agent_status();
        if envoy.load(Ordering::SeqCst) {
            status.readiness = Readiness::ready();
        }
        status
    };
    let view = AgentView { status: Arc::new(report), health: Arc::new(|| Ok(())) };
    let ask = client!(move |config| agent::configure(config, &view));
    assert_eq!(ask(get("/readyz")).await, Seen::text(503, "not ready: Envoy is away"));
    connected.store(true, Ordering::SeqCst);
    assert_eq!(ask(get("/readyz")).await, Seen::text(200, "ready\n"));
}

#[actix_web::test]
async fn a_process_with_a_stuck_part_is_not_healthy_and_says_which() {
    let stuck = || Err("vip_pool has blocked its thread for 31 s".to_owned());
    let view = AgentView { health: Arc::new(stuck), ..agent() };
    let ask = client!(move |config| agent::configure(config, &view));
    assert_eq!(ask(get("/healthz")).await, Seen::text(503, "stuck: vip_pool has blocked its thread for 31 s"));
    assert_eq!(ask(get("/status")).await.status, 200);
}

#[actix_web::test]
async fn only_get_and_head_are_allowed() {
    let ask = client!(|config| agent::configure(config, &agent()));
    for path in ["/", "/healthz", "/readyz", "/metrics", "/status"] {
        let head = ask(TestRequest::with_uri(path).method(Method::HEAD)).await;
        assert_eq!(head.status, ask(get(path)).await.status, "{path}");
        let post = ask(TestRequest::post().uri(path)).await;
        assert_eq!(post, Seen::text(405, "405: Method Not Allowed"), "{path}");
    }
    assert_eq!(ask(get("/v1/registration")).await, Seen::text(404, "404: Page Not Found"));
}

#[actix_web::test]
async fn the_index_names_endpoints_that_exist() {
    let (_sender, view) = samples::pilot(orchard());
    let view = view.with_roots(Arc::new(|| Some(standing())));
    let ask = client!(move |config| pilot::configure(config, &view));
    let index = ask(get("/")).await.body;
    let lines =
        index.lines().filter_map(|line| line.split_whitespace().collect::<Vec<_>>().get(..2).map(<[_]>::to_vec));
    let mut named = 0;
    for line in lines.filter(|line| line[1].starts_with('/')) {
        let path = line[1]
            .replace("{caller}", "sample/apricot")
            .replace("{host}:{port}", "httpbin.apricot.sample.boshy:9001")
            .replace("{service-cluster}", "x")
            .replace("{service-node}", "sidecar~10.0.0.1~x~x")
            .replace("{service-key}", "a%7Cb")
            .replace("{name}", "80");
        let request = TestRequest::with_uri(&path).method(line[0].parse().unwrap());
        assert_eq!(ask(request).await.status, 200, "{path}");
        named += 1;
    }
    assert_eq!(named, 14);
}

#[actix_web::test]
async fn what_becomes_of_a_connection_is_answered_or_the_question_refused() {
    let (sender, view) = samples::pilot(orchard());
    let ask = client!(move |config| pilot::configure(config, &view));
    let seen = ask(get("/authz?from=shop/web&to=httpbin.apricot.sample.boshy:9001")).await;
    assert_eq!((seen.status, seen.kind.as_deref()), (200, Some("application/json")));
    let verdict: Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(keys(&verdict), ["from", "to", "mode", "policies", "trial", "unenforced"]);
    assert_eq!(verdict["from"], json!("spiffe://boshy/ns/shop/sa/web"));
    assert_eq!((&verdict["mode"], &verdict["policies"]["allowed"]), (&json!("DISABLE"), &json!(true)));
    assert_eq!(ask(get("/authz")).await, Seen::text(400, "ask with ?from=CALLER&to=HOST:PORT"));
    let unknown = Seen::text(400, "there is no service \"x.boshy\" in the mesh");
    assert_eq!(ask(get("/authz?from=shop/web&to=x.boshy:1")).await, unknown);
    sender.send_replace(samples::snapshot(0, vec![]));
    let early = Seen::text(503, "not ready: the director has not been read yet");
    assert_eq!(ask(get("/authz?from=shop/web&to=x.boshy:1")).await, early);
}

#[actix_web::test]
async fn pilot_status_has_the_fields_that_people_read() {
    let (_sender, view) = samples::pilot(orchard());
    let ask = client!(move |config| pilot::configure(config, &view));
    let seen = ask(get("/status")).await;
    assert_eq!((seen.status, seen.kind.as_deref()), (200, Some("application/json")));
    let status: Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(
        keys(&status),
        [
            "ready",
            "ready_reason",
            "lacking",
            "snapshot",
            "convergence",
            "director",
            "deployments",
            "configs",
            "problems",
            "pool",
            "services",
            "actors",
            "xds",
            "identity",
            "mtls",
            "reports",
            "stopping",
            "proxies"
        ]
    );
    assert_eq!(status["ready"], json!(true));
    assert_eq!(status["snapshot"], json!({"generation": 1, "hash": "ab12", "services": 1, "endpoints": 2}));
    assert_eq!(status["convergence"], json!({"generation": 1, "behind": 2, "proxies": 3, "milliseconds": 45}));
    assert_eq!(status["lacking"][0]["what"], json!("leases"));
    assert_eq!(keys(&status["director"]), ["url", "last_success", "error"]);
    assert_eq!(status["deployments"][0]["error"], json!("HTTP 500"));
    assert_eq!(status["configs"][0], json!({"name": "net", "latest": "9", "applied": "7", "error": "line 4 is wrong"}));
    assert_eq!(status["problems"][0], json!({"place": {"deployment": "sample"}, "reason": "has a problem"}));
    assert_eq!(
        status["pool"],
        json!({
            "range": "169.254.255.0/24", "capacity": 254, "held": 1, "resting": 2,
            "refused": ["httpbin.late.sample.boshy"], "unwritten": ["httpbin.unkept.sample.boshy"]
        })
    );
    assert_eq!(
        status["services"][0],
        json!({
            "host": "httpbin.apricot.sample.boshy", "vip": "169.254.255.1",
            "ports": [{"name": "http", "number": 9001, "protocol": "tcp"}], "tunnelled": [],
            "endpoints": [
                {"ip": "10.0.0.1", "az": "z1", "withdrawn": false}, {"ip": "10.0.0.2", "az": "z1", "withdrawn": false}
            ]
        })
    );
    assert_eq!(status["actors"]["children"][1]["state"], json!("backing_off"));
    assert_eq!(status["xds"], json!({"tls": true, "refused": {"untrusted": 2}, "foreign": 1}));
    assert_eq!(
        status["identity"],
        json!({
            "trust_domain": "boshy", "attestation": "deployment", "authority_end": 1_900_000_000, "known": 3, "issued": 5,
            "refused": {"another_key": 1},
            "latest_refusals": [{"at": 1_700_000_300, "address": "10.0.0.7", "reason": "another key"}]
        })
    );
    assert_eq!(status["stopping"], json!([{"instance": "one", "age": 3}]));
    assert_eq!(status["proxies"][0]["tls"], json!({"subject": "CN=agent", "workload": null}));
    assert_eq!(status["proxies"][0]["types"]["listener"]["rejected"]["reason"], json!("no"));
}

#[actix_web::test]
async fn agent_status_has_the_fields_that_people_read() {
    let ask = client!(|config| agent::configure(config, &agent()));
    let status: Value = serde_json::from_str(&ask(get("/status")).await.body).unwrap();
    assert_eq!(
        keys(&status),
        [
            "ready",
            "ready_reason",
            "lacking",
            "node",
            "pilot",
            "identity",
            "stopping",
            "names",
            "envoy",
            "tunnels",
            "rules",
            "dns",
            "actors"
        ]
    );
    assert_eq!((&status["ready"], &status["ready_reason"]), (&json!(false), &json!("Envoy is away")));
    assert_eq!(keys(&status["pilot"]), ["address", "connected_since", "error", "remedy"]);
    assert_eq!(status["stopping"], json!({"since": 1_700_000_500, "told": ["http://pilot:15010/"], "untold": {}}));
    assert_eq!(
        status["lacking"],
        json!([{"what": "envoy", "since": 1_700_000_400, "reason": "it is away", "remedy": "Start it."}])
    );
    assert_eq!(
        status["names"],
        json!({
            "answered": {"httpbin.apricot.sample.boshy": "169.254.255.1"},
            "pending": ["httpbin.banana.sample.boshy"]
        })
    );
    assert_eq!(
        status["envoy"],
        json!({
            "connected": false, "live": null, "accepted": {"cluster": "v1"},
            "refused": [{"type": "listener", "name": "virtual", "version": "v2", "reason": "no", "attempts": 3}],
            "refusing": 1,
            "inspection": {"last": 1_700_000_400, "differences": [], "differing": 0, "repairs": 2, "error": null}
        })
    );
    assert_eq!(
        keys(&status["rules"]),
        ["in_place", "pairs", "strict", "captured", "not_permitted", "drift_repairs", "error", "remedy", "route"]
    );
    assert_eq!(
        keys(&status["dns"]),
        ["queries", "answers", "fallback", "dropped", "cut_short", "unsent", "tcp_connections", "handler_requests"]
    );
    assert_eq!(status["dns"]["answers"]["NXDOMAIN"], json!(2));
}

/// Sample lines by name and labels. It also checks the rules of the format.
fn scraped(seen: &Seen) -> std::collections::BTreeMap<String, f64> {
    assert_eq!(seen.status, 200);
    assert_eq!(seen.kind.as_deref(), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(seen.body.ends_with("# EOF\n"));
    let mut typed = Vec::new();
    let mut samples = std::collections::BTreeMap::new();
    for line in seen.body.lines() {
        match line.strip_prefix("# ") {
            Some(comment) => {
                if let Some(kind) = comment.strip_prefix("TYPE ") {
                    typed.push(kind.split(' ').next().unwrap().to_owned());
                }
            }
            None => {
                let (name, value) = line.rsplit_once(' ').unwrap();
                let family = typed.last().unwrap();
                assert!(family.starts_with("boshy_") && name.starts_with(family.as_str()), "{line} under {family}");
                assert!(samples.insert(name.to_owned(), value.parse().unwrap()).is_none(), "twice: {line}");
            }
        }
    }
    let mut distinct = typed.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), typed.len(), "a family is described twice");
    samples
}

#[actix_web::test]
async fn pilot_metrics_are_those_of_its_status_and_of_its_requests() {
    let (_sender, view) = samples::pilot(orchard());
    let ask = client!(move |config| pilot::configure(config, &view));
    for path in
        ["/v1/clusters/x/sidecar~10.0.0.1~x~x", "/v1/clusters/x/sidecar~10.0.0.1~x~x", "/v1/clusters/x/bad", "/nothing"]
    {
        ask(get(path)).await;
    }
    let samples = scraped(&ask(get("/metrics")).await);
    for (name, value) in [
        (r#"boshy_build_info{version="0.1.0"}"#, 1.0),
        ("boshy_ready", 1.0),
        ("boshy_snapshot_generation", 1.0),
        (r#"boshy_snapshot_info{hash="ab12"}"#, 1.0),
        ("boshy_snapshot_endpoints", 2.0),
        ("boshy_director_last_success_timestamp_seconds", 1_700_000_000.0),
        ("boshy_proxies_behind", 2.0),
        ("boshy_convergence_seconds", 0.045),
        ("boshy_director_failing", 0.0),
        (r#"boshy_deployment_failing{deployment="sam\"ple"}"#, 1.0),
        ("boshy_problems", 1.0),
        ("boshy_vips_capacity", 254.0),
        ("boshy_vips_refused", 1.0),
        ("boshy_vips_unwritten", 1.0),
        (r#"boshy_lacking{what="leases"}"#, 1.0),
        (r#"boshy_service_endpoints{service="httpbin.apricot.sample.boshy"}"#, 2.0),
        (r#"boshy_actor_restarts_total{tree="root",child="two"}"#, 4.0),
        (r#"boshy_actor_running{tree="root",child="one"}"#, 1.0),
        (r#"boshy_actor_running{tree="root",child="two"}"#, 0.0),
        (r#"boshy_actor_stuck{tree="root",child="one"}"#, 0.0),
        (r#"boshy_actor_stuck{tree="root",child="two"}"#, 1.0),
        (r#"boshy_proxies_connected{flavour="delta"}"#, 1.0),
        (r#"boshy_proxies_rejecting{type="listener"}"#, 1.0),
        (r#"boshy_proxies_rejecting{type="names"}"#, 0.0),
        ("boshy_ports_changing", 1.0),
        ("boshy_agents_reporting", 1.0),
        ("boshy_agents_able", 1.0),
        ("boshy_instances_stopping", 1.0),
        (r#"boshy_v1_requests_total{method="ListClusters",status="200"}"#, 2.0),
        (r#"boshy_v1_requests_total{method="ListClusters",status="404"}"#, 1.0),
        (r#"boshy_v1_requests_total{method="Other",status="404"}"#, 1.0),
        ("boshy_v1_cache_hits_total", 1.0),
        ("boshy_v1_cache_misses_total", 1.0),
    ] {
        assert_eq!(samples.get(name), Some(&value), "{name} in {samples:#?}");
    }
    assert!(samples["boshy_v1_cache_bytes"] > 100.0);
}

#[actix_web::test]
async fn agent_metrics_are_those_of_its_status() {
    let ask = client!(|config| agent::configure(config, &agent()));
    let samples = scraped(&ask(get("/metrics")).await);
    for (name, value) in [
        ("boshy_ready", 0.0),
        ("boshy_pilot_connected", 1.0),
        ("boshy_pilot_connected_timestamp_seconds", 1_700_000_000.0),
        ("boshy_certificate_expiry_timestamp_seconds", 1_700_086_400.0),
        ("boshy_certificate_renewal_timestamp_seconds", 1_700_043_200.0),
        ("boshy_certificate_ends_soon", 0.0),
        ("boshy_certificate_unanswered", 0.0),
        ("boshy_names_answered", 1.0),
        ("boshy_names_pending", 1.0),
        ("boshy_envoy_connected", 0.0),
        ("boshy_envoy_refused", 1.0),
        ("boshy_rules_in_place", 1.0),
        ("boshy_rules_drift_repairs_total", 3.0),
        ("boshy_route_in_place", 0.0),
        ("boshy_dns_queries_total", 8.0),
        (r#"boshy_dns_answers_total{rcode="NOERROR"}"#, 5.0),
        (r#"boshy_dns_answers_total{rcode="NXDOMAIN"}"#, 2.0),
        (r#"boshy_dns_answers_total{rcode="REFUSED"}"#, 1.0),
        ("boshy_handler_requests_total", 9.0),
    ] {
        assert_eq!(samples.get(name), Some(&value), "{name} in {samples:#?}");
    }
    assert!(!samples.contains_key("boshy_envoy_live"), "unknown is not 0");
}

#[actix_web::test]
async fn an_actor_panics_on_request_only_where_hooks_are_mounted() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    let switch: test_hooks::Switch = Arc::new(move |actor, fault| {
        heard.lock().unwrap().push((actor.to_owned(), fault));
        actor == "vip_pool"
    });
    let (_sender, view) = samples::pilot(orchard());
    let bare = view.clone();
    let ask = client!(move |config| {
        pilot::configure(config, &view);
        test_hooks::configure(config, &switch);
    });
    let post = |path| TestRequest::post().uri(path);
    assert_eq!(ask(post("/debug/panic/vip_pool")).await.status, 200);
    assert_eq!(ask(post("/debug/panic/nobody")).await, Seen::text(404, "no actor \"nobody\""));
    assert_eq!(ask(get("/debug/panic/vip_pool")).await.status, 405);
    assert_eq!(ask(post("/debug/stick/vip_pool?seconds=1.5")).await.status, 200);
    assert_eq!(ask(post("/debug/stick/vip_pool")).await.status, 400);
    let stick = Fault::Stick(Duration::from_millis(1500));
    let wanted = [("vip_pool", Fault::Panic), ("nobody", Fault::Panic), ("vip_pool", stick)];
    assert_eq!(*asked.lock().unwrap(), wanted.map(|(actor, fault)| (actor.to_owned(), fault)));

    let without = client!(move |config| pilot::configure(config, &bare));
    assert_eq!(without(post("/debug/panic/vip_pool")).await.status, 404);
}
