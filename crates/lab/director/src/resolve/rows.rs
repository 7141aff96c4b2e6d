//! Links as the director lists them.

use serde_json::{Value, json};

use super::link::{Consumer, Links, Provider};

pub(super) fn providers(deployment: &str, links: &Links, id: &mut dyn FnMut() -> u64) -> Vec<Value> {
    let row = |provider: &Provider| {
        json!({
            "id": id().to_string(),
            "name": provider.name,
            "shared": provider.shared,
            "deployment": deployment,
            "link_provider_definition": {"type": provider.kind, "name": provider.original},
            "owner_object": {"type": "job", "name": provider.job, "info": {"instance_group": provider.group}},
        })
    };
    links.providers.iter().map(row).collect()
}

pub(super) fn consumers(deployment: &str, links: &Links, id: &mut dyn FnMut() -> u64) -> Vec<Value> {
    let row = |consumer: &Consumer| {
        json!({
            "id": id().to_string(),
            "name": consumer.name,
            "optional": consumer.optional,
            "deployment": deployment,
            "owner_object": {"type": "job", "name": consumer.job, "info": {"instance_group": consumer.group}},
            "link_consumer_definition": {"name": consumer.original, "type": consumer.kind},
        })
    };
    links.consumers.iter().map(row).collect()
}
