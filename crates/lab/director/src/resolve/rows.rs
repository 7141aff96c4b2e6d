//! Links as the director lists them.

use boshy_director::wire::{Link, LinkConsumer, LinkDefinition, LinkOwner, LinkOwnerInfo, LinkProvider};
use boshy_mesh::Timestamp;

use super::link::{Consumer, Links, Provider, ProviderAt, Target};
use crate::{
    clock,
    world::{LinkKey, LinkTable},
};

/// Returns the id of a row and when it was made.
pub(crate) type Ids<'a> = &'a mut dyn FnMut(LinkTable, LinkKey) -> (u64, Timestamp);

pub(super) fn providers(deployment: &str, links: &Links, ids: Ids<'_>) -> Vec<LinkProvider> {
    let row = |provider: &Provider| LinkProvider {
        id: provider_id(&at(deployment, provider), ids),
        name: provider.name.clone(),
        shared: provider.shared,
        deployment: deployment.to_owned(),
        link_provider_definition: definition(&provider.kind, &provider.original),
        owner_object: owner(&provider.job, &provider.group),
    };
    links.providers.iter().map(row).collect()
}

pub(super) fn consumers(deployment: &str, links: &Links, ids: Ids<'_>) -> Vec<LinkConsumer> {
    let row = |consumer: &Consumer| LinkConsumer {
        id: consumer_id(deployment, consumer, ids),
        name: Some(consumer.name.clone()),
        optional: consumer.optional,
        deployment: deployment.to_owned(),
        owner_object: owner(&consumer.job, &consumer.group),
        link_consumer_definition: definition(&consumer.kind, &consumer.original),
    };
    links.consumers.iter().map(row).collect()
}

/// A consumer without a provider has no link. A link that the manifest writes by hand has a provider that is not listed.
pub(super) fn links(deployment: &str, links: &Links, ids: Ids<'_>) -> Vec<Link> {
    let with_provider = links.consumers.iter().filter_map(|consumer| Some((consumer, consumer.target.as_ref()?)));
    let row = |(consumer, target): (&Consumer, &Target)| {
        let provider = match target {
            Target::Provider { at, .. } => provider_id(at, ids),
            Target::Manual(_) => ids(LinkTable::Providers, key(deployment, consumer, "by hand")).0.to_string(),
        };
        let (id, made) = ids(LinkTable::Links, key(deployment, consumer, &provider));
        Link {
            id: id.to_string(),
            name: consumer.original.clone(),
            link_consumer_id: Some(consumer_id(deployment, consumer, ids)),
            link_provider_id: Some(provider),
            created_at: clock::utc(made),
        }
    };
    with_provider.map(row).collect()
}

fn provider_id(at: &ProviderAt, ids: Ids<'_>) -> String {
    let ProviderAt { deployment, group, job, original } = at;
    let (deployment, group, job) = (deployment.clone(), group.clone(), job.clone());
    let key = LinkKey { deployment, group, job, link: original.clone() };
    ids(LinkTable::Providers, key).0.to_string()
}

fn consumer_id(deployment: &str, consumer: &Consumer, ids: Ids<'_>) -> String {
    ids(LinkTable::Consumers, key(deployment, consumer, "")).0.to_string()
}

/// A row of a consumer; `more` tells it from others of the same one.
fn key(deployment: &str, consumer: &Consumer, more: &str) -> LinkKey {
    LinkKey {
        deployment: deployment.to_owned(),
        group: consumer.group.clone(),
        job: consumer.job.clone(),
        link: format!("{} {more}", consumer.original),
    }
}

fn at(deployment: &str, provider: &Provider) -> ProviderAt {
    let Provider { group, job, original, .. } = provider;
    ProviderAt { deployment: deployment.to_owned(), group: group.clone(), job: job.clone(), original: original.clone() }
}

fn definition(kind: &str, name: &str) -> LinkDefinition {
    LinkDefinition { kind: Some(kind.to_owned()), name: name.to_owned() }
}

fn owner(job: &str, group: &str) -> LinkOwner {
    let info = Some(LinkOwnerInfo { instance_group: Some(group.to_owned()) });
    LinkOwner { kind: "job".to_owned(), name: job.to_owned(), info }
}
