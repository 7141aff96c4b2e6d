//! Node ids, service keys and route names, one per line, through the v1 API: every document is JSON and has as many
//! resources as it reports.
#![no_main]

use std::sync::LazyLock;

use boshy_fuzz::snapshot;
use boshy_mesh::{MeshSnapshot, NodeId, NodeIdError};
use boshy_web::v1::documents::{self as v1, Document};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static MESH: LazyLock<MeshSnapshot> = LazyLock::new(snapshot);

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    of_node(line());
    let key = line();
    let hosts = holds(&v1::service(&MESH, key), "hosts");
    assert!(hosts == 0 || key.contains('|'), "{key:?} names no port");
    if let Ok(routes) = v1::routes(line()) {
        holds(&routes, "virtual_hosts");
    }
});

fn of_node(id: &str) {
    let node: NodeId = match id.parse() {
        Ok(node) => node,
        Err(error) => {
            let (NodeIdError::MissingParts(node)
            | NodeIdError::InvalidType(node)
            | NodeIdError::InvalidIp { node, .. }) = &error;
            assert_eq!(node, id);
            assert!(error.to_string().contains("in the service node"));
            return;
        }
    };
    assert_eq!(node.as_str(), id);
    assert_eq!(id.parse::<NodeId>().as_ref(), Ok(&node));
    holds(&v1::listeners(&MESH, &node), "listeners");
    holds(&v1::clusters(&MESH, &node), "clusters");
    let zone = v1::availability_zone(&MESH, &node);
    let known = node.ip().is_some_and(|ip| MESH.content.workloads.at(ip).is_some());
    assert_eq!(zone.is_ok(), known);
}

fn holds(document: &Document, list: &str) -> usize {
    let value: Value = serde_json::from_slice(&document.body).expect("a JSON body");
    let held = value[list].as_array().expect("a list").len();
    assert_eq!(held, document.resources);
    held
}
