//! The v1 discovery API, row by row.

use std::sync::Arc;

use actix_web::{
    http::{Method, header::ACCEPT},
    test::TestRequest,
};
use boshy_mesh::MeshSnapshot;
use boshy_web::pilot;

use crate::{
    client::{Seen, client},
    samples::{self, orchard, service, snapshot},
};

const KEY: &str = "httpbin.apricot.sample.boshy|http";
const NODE: &str = "sidecar~10.0.0.1~x~x";

/// A client of a pilot's port.
macro_rules! serving {
    ($snapshot:expr) => {{
        let (sender, view) = samples::pilot($snapshot);
        (sender, client!(move |config| pilot::configure(config, &view)))
    }};
}

fn get(uri: &str) -> TestRequest {
    TestRequest::get().uri(uri)
}

fn rendered(document: &boshy_web::v1::documents::Document) -> String {
    String::from_utf8(document.body.to_vec()).unwrap()
}

#[actix_web::test]
async fn every_path_of_the_api_answers() {
    let (_sender, ask) = serving!(orchard());
    let mesh = orchard();
    let node = NODE.parse().unwrap();
    let listeners = rendered(&boshy_web::v1::documents::listeners(&mesh, &node));
    let clusters = rendered(&boshy_web::v1::documents::clusters(&mesh, &node));
    let hosts = rendered(&boshy_web::v1::documents::service(&mesh, KEY));
    let registration = rendered(&boshy_web::v1::documents::registration(&mesh));
    assert!(listeners.contains("in.9001") && clusters.contains("in.9001") && hosts.contains("10.0.0.2"));
    for (path, expected) in [
        ("/v1/registration".to_owned(), Seen::json(&registration)),
        ("/v1/registration/".to_owned(), Seen::json(&registration)),
        (format!("/v1/registration/{KEY}"), Seen::text(200, &hosts)),
        (format!("/v1/registration/{}", KEY.replace('|', "%7C")), Seen::text(200, &hosts)),
        (format!("/v1/registration/{}", KEY.replace('|', "%7c")), Seen::text(200, &hosts)),
        ("/v1/registration/nobody|http".to_owned(), Seen::text(200, "{\n  \"hosts\": []\n }")),
        (format!("/v1/registration/{KEY}|version=1"), Seen::text(200, "{\n  \"hosts\": []\n }")),
        (format!("/v1/listeners/x/{NODE}"), Seen::text(200, &listeners)),
        (format!("/v1/listeners/any%20cluster/{NODE}"), Seen::text(200, &listeners)),
        (format!("/v1/listeners/x/{NODE}/"), Seen::text(200, &listeners)),
        (format!("/v1/clusters/x/{NODE}"), Seen::text(200, &clusters)),
        ("/v1/clusters/x/ingress~~~".to_owned(), Seen::text(200, "{\n  \"clusters\": []\n }")),
        (format!("/v1/routes/9001/x/{NODE}"), Seen::text(200, "{\n  \"virtual_hosts\": []\n }")),
        (format!("/v1/az/x/{NODE}"), Seen::text(200, "z1")),
    ] {
        assert_eq!(ask(get(&path)).await, expected, "{path}");
    }
}

#[actix_web::test]
async fn errors_have_the_status_and_the_words_of_the_api() {
    let (_sender, ask) = serving!(orchard());
    let missing = r#"unexpected service-node:  missing parts in the service node "x""#;
    let kinds = "invalid node type (valid types: ingress, sidecar, router in the service node";
    for (path, status, body) in [
        ("/v1/listeners/x/x", 404, format!("LDS {missing}")),
        ("/v1/clusters/x/x", 404, format!("CDS {missing}")),
        ("/v1/routes/80/x/x", 404, format!("RDS {missing}")),
        ("/v1/routes/foo/x/x", 404, format!("RDS {missing}")),
        ("/v1/az/x/x", 404, format!("AvailabilityZone {missing}")),
        ("/v1/listeners/x/a~b~c~d", 404, format!(r#"LDS unexpected service-node:  {kinds} "a~b~c~d""#)),
        (
            "/v1/clusters/x/sidecar~y~c~d",
            404,
            r#"CDS unexpected service-node:  invalid IP address "y" in the service node "sidecar~y~c~d""#.into(),
        ),
        ("/v1/routes/foo/x/sidecar~10.0.0.1~x~x", 503, r#"RDS strconv.Atoi: parsing "foo": invalid syntax"#.into()),
        ("/v1/az/x/sidecar~10.9.9.9~x~x", 404, "AvailabilityZone couldn't find the given cluster node".into()),
    ] {
        assert_eq!(ask(get(path)).await, Seen::text(status, &body), "{path}");
    }
}

#[actix_web::test]
async fn unknown_paths_are_not_found() {
    let (_sender, ask) = serving!(orchard());
    for path in [
        "/nothing",
        "/v1",
        "/v1/clusters",
        "/v1/routes",
        "/v1/listeners/x",
        "/v1/listeners/x/sidecar~10.0.0.1~x~x/more",
        "/v1/registration/10.0.0.0/24|http",
        "/v1/registration/10.0.0.0%2F24|http",
        "/v1alpha/config",
        "/V1/registration",
        "/version",
    ] {
        assert_eq!(ask(get(path)).await, Seen::text(404, "404: Page Not Found"), "{path}");
    }
}

#[actix_web::test]
async fn a_percent_sign_alone_is_a_bad_request() {
    let (_sender, ask) = serving!(orchard());
    for path in ["/v1/registration/a%", "/v1/registration/%zz", "/%4"] {
        assert_eq!(ask(get(path)).await, Seen::text(400, "400 Bad Request"), "{path}");
    }
}

#[actix_web::test]
async fn other_methods_are_not_allowed_on_known_paths() {
    let (_sender, ask) = serving!(orchard());
    let refused = Seen::text(405, "405: Method Not Allowed");
    let listeners = format!("/v1/listeners/x/{NODE}");
    for method in [Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
        for path in ["/v1/registration", &listeners, "/v1/listeners/x/malformed", "/cache_stats"] {
            let request = TestRequest::with_uri(path).method(method.clone());
            assert_eq!(ask(request).await, refused, "{method} {path}");
        }
    }
    assert_eq!(ask(get("/cache_stats_delete")).await, refused);
    assert_eq!(ask(TestRequest::post().uri("/nothing")).await.status, 404);
}

#[actix_web::test]
async fn accept_is_read_as_the_api_read_it() {
    let (_sender, ask) = serving!(orchard());
    for (accept, status) in [
        ("*/*", 200),
        ("application/json", 200),
        ("text/html, application/json;q=0", 200),
        ("text/html,*/*;q=0.1", 200),
        ("", 200),
        ("text/plain", 406),
        ("application/*", 406),
        ("APPLICATION/JSON", 406),
    ] {
        let seen = ask(get("/v1/registration").insert_header((ACCEPT, accept))).await;
        assert_eq!(seen.status, status, "{accept}");
        if status == 406 {
            assert_eq!(seen, Seen::text(406, "406: Not Acceptable"));
        }
    }
    // A wrong path or method is reported first.
    let unacceptable = |request: TestRequest| request.insert_header((ACCEPT, "text/plain"));
    assert_eq!(ask(unacceptable(get("/nothing"))).await.status, 404);
    assert_eq!(ask(unacceptable(TestRequest::put().uri("/v1/registration"))).await.status, 405);
}

#[actix_web::test]
async fn unclean_paths_move_to_clean_ones() {
    let (_sender, ask) = serving!(orchard());
    for (path, location) in [
        ("//v1//registration", "/v1/registration"),
        ("/v1/./registration/", "/v1/registration/"),
        ("/v1/x/../registration?a=b", "/v1/registration?a=b"),
        ("/v1/registration//a|b", "/v1/registration/a%7Cb"),
        ("/v1/registration/%2Fx", "/v1/registration/x"),
        ("/%2e%2e/nothing", "/nothing"),
        ("//healthz", "/healthz"),
    ] {
        let seen = ask(get(path)).await;
        assert_eq!((seen.status, seen.location.as_deref()), (301, Some(location)), "{path}");
    }
}

#[actix_web::test]
async fn before_the_first_snapshot_the_api_is_unavailable() {
    let (sender, ask) = serving!(Arc::new(MeshSnapshot::default()));
    let unread = "the director has not been read yet";
    for (path, status, api) in [
        ("/v1/registration", 503, "EDS"),
        ("/v1/registration/a|b", 503, "EDS"),
        ("/v1/listeners/x/sidecar~10.0.0.1~x~x", 503, "LDS"),
        ("/v1/clusters/x/sidecar~10.0.0.1~x~x", 503, "CDS"),
        ("/v1/routes/80/x/sidecar~10.0.0.1~x~x", 503, "RDS"),
        ("/v1/az/x/sidecar~10.0.0.1~x~x", 404, "AvailabilityZone"),
    ] {
        assert_eq!(ask(get(path)).await, Seen::text(status, &format!("{api} {unread}")), "{path}");
    }
    sender.send_replace(snapshot(1, vec![]));
    assert_eq!(ask(get("/v1/registration")).await, Seen::json("[]"));
}

#[actix_web::test]
async fn an_answer_follows_the_snapshot_at_once() {
    let (sender, ask) = serving!(orchard());
    let path = format!("/v1/registration/{KEY}");
    assert!(ask(get(&path)).await.body.contains("10.0.0.2"));
    sender.send_replace(snapshot(2, vec![service("apricot", 1, &["10.0.0.3"])]));
    let body = ask(get(&path)).await.body;
    assert!(body.contains("10.0.0.3") && !body.contains("10.0.0.2"), "{body}");
}

#[actix_web::test]
async fn cache_statistics_count_by_url() {
    let (sender, ask) = serving!(orchard());
    assert_eq!(ask(get("/cache_stats")).await, Seen::json("{\n  \"cache_stats\": {}\n }"));
    for path in [
        format!("/v1/registration/{KEY}"),
        format!("/v1/registration/{KEY}"),
        format!("/v1/registration/{KEY}?again"),
        format!("/v1/clusters/x/{NODE}"),
        "/v1/registration/nobody|http".into(),
        "/v1/registration".into(),
        format!("/v1/az/x/{NODE}"),
        "/v1/clusters/x/ingress~~~".into(),
        "/v1/listeners/x/bad".into(),
    ] {
        ask(get(&path)).await;
    }
    sender.send_replace(snapshot(2, vec![service("apricot", 1, &["10.0.0.1"])]));
    ask(get(&format!("/v1/clusters/x/{NODE}"))).await;
    let counted = r#"{
  "cache_stats": {
   "/v1/clusters/x/sidecar~10.0.0.1~x~x": {
    "hit": 0,
    "miss": 2
   },
   "/v1/registration/httpbin.apricot.sample.boshy%7Chttp": {
    "hit": 1,
    "miss": 1
   },
   "/v1/registration/httpbin.apricot.sample.boshy%7Chttp?again": {
    "hit": 0,
    "miss": 1
   }
  }
 }"#;
    assert_eq!(ask(get("/cache_stats")).await, Seen::json(counted));

    let reset = ask(TestRequest::post().uri("/cache_stats_delete")).await;
    assert_eq!((reset.status, reset.body.as_str()), (200, ""));
    let zeroed = ask(get("/cache_stats")).await.body;
    assert_eq!(zeroed.matches("\"hit\": 0,\n    \"miss\": 0").count(), 3, "{zeroed}");
}
