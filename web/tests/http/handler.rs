//! The handler for bosh-dns.

use std::net::Ipv4Addr;

use actix_web::{http::Method, test::TestRequest};
use boshy_dns::{CurrentZone, Zone};
use boshy_mesh::{NameTable, Tld};
use boshy_web::handler::{self, HandlerView};
use serde_json::{Value, json};

use crate::{
    client::{Seen, client},
    samples::host,
};

const NAME: &str = "httpbin.apricot.sample.boshy.";

fn zone(last: u8) -> Zone {
    let names = NameTable::from_iter([(host("apricot"), Ipv4Addr::new(169, 254, 255, last))]);
    Zone::build(&names, &Tld::default(), 1)
}

fn view(zone: Zone) -> (CurrentZone, HandlerView) {
    let zones = CurrentZone::new(zone);
    (zones.clone(), HandlerView::new(zones))
}

fn get(query: &str) -> TestRequest {
    TestRequest::get().uri(&format!("/?{query}"))
}

fn answers(seen: &Seen) -> Value {
    assert_eq!(seen.kind.as_deref(), Some("application/json"));
    serde_json::from_str::<Value>(&seen.body).unwrap()["Answer"].clone()
}

#[actix_web::test]
async fn a_name_is_answered_on_any_path_and_method() {
    let (_zones, view) = view(zone(1));
    let counted = view.clone();
    let ask = client!(move |config| handler::configure(config, &view));
    for method in [Method::GET, Method::POST, Method::DELETE] {
        for path in ["/", "/any/path", "//", "/%2e%2e"] {
            let uri = format!("{path}?name={NAME}&type=1");
            let seen = ask(TestRequest::with_uri(&uri).method(method.clone())).await;
            assert_eq!((seen.status, &answers(&seen)[0]["data"]), (200, &json!("169.254.255.1")), "{method} {path}");
        }
    }
    assert_eq!(counted.requests(), 12);
}

#[actix_web::test]
async fn parameters_are_read_as_a_form() {
    let (_zones, view) = view(zone(1));
    let ask = client!(move |config| handler::configure(config, &view));
    for (query, status, count) in [
        (format!("name={}&type=1", NAME.replace('.', "%2E")), 200, 1),
        (format!("type=1&name={NAME}&name=other.boshy.&more"), 200, 1),
        (format!("name={NAME}"), 200, 1),
        (format!("name={NAME}&type=28"), 200, 0),
        ("name=nobody.boshy.&type=1".into(), 200, 0),
        ("name=%ff%&type=1".into(), 200, 0),
        ("type=28".into(), 200, 0),
        ("type=1".into(), 400, 0),
        (String::new(), 400, 0),
        (format!("name={NAME}&type=A"), 400, 0),
    ] {
        let seen = ask(get(&query)).await;
        assert_eq!((seen.status, answers(&seen).as_array().unwrap().len()), (status, count), "{query}: {}", seen.body);
    }
}

#[actix_web::test]
async fn the_zone_of_the_moment_is_answered_from() {
    let (zones, view) = view(Zone::not_known_yet(&Tld::default()));
    let ask = client!(move |config| handler::configure(config, &view));
    let query = format!("name={NAME}&type=1");
    assert_eq!(ask(get(&query)).await.status, 503);
    for last in [1, 2] {
        zones.store(zone(last));
        assert_eq!(answers(&ask(get(&query)).await)[0]["data"], json!(format!("169.254.255.{last}")));
    }
}
