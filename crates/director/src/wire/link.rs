//! `GET /link_providers`, `/link_consumers` and `/links` of a deployment.
//!
//! The director's `links_controller.rb`, `link_providers_controller.rb` and `link_consumers_controller.rb` make them. A
//! link is listed in the deployment that consumes it. Its provider may be of another one, in whose list it has the same
//! id.

use std::collections::BTreeMap;

use boshy_mesh::{ConsumedLink, DeploymentLinks, ProvidedLink};
use serde::{Deserialize, Serialize};

/// The type of an owner that is a job. Others are `variable`, `manual`, `disk` and `external`.
const JOB: &str = "job";

/// One row of `GET /link_providers?deployment=`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkProvider {
    /// Id, as text.
    pub id: String,
    /// Name in the manifest (`as`), or in the release.
    pub name: String,
    /// Whether other deployments may consume it.
    pub shared: bool,
    /// Deployment.
    pub deployment: String,
    /// The link in the release.
    pub link_provider_definition: LinkDefinition,
    /// Who provides it.
    pub owner_object: LinkOwner,
}

/// One row of `GET /link_consumers?deployment=`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkConsumer {
    /// Id, as text.
    pub id: String,
    /// Name in the manifest (`from`), or in the release; null when it is blocked.
    pub name: Option<String>,
    /// Whether it may have no provider.
    pub optional: bool,
    /// Deployment.
    pub deployment: String,
    /// Who consumes it.
    pub owner_object: LinkOwner,
    /// The link in the release.
    pub link_consumer_definition: LinkDefinition,
}

/// One row of `GET /links?deployment=`: which provider a consumer has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Id, as text.
    pub id: String,
    /// Name in the release.
    pub name: String,
    /// Id of the consumer.
    pub link_consumer_id: Option<String>,
    /// Id of the provider; null for one that no longer exists.
    pub link_provider_id: Option<String>,
    /// `2026-11-23 15:14:21 UTC`.
    pub created_at: String,
}

/// A link as a release defines it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkDefinition {
    /// Type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Name.
    pub name: String,
}

/// Who provides or consumes a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkOwner {
    /// `job`, `variable`, `manual`, `disk` or `external`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Name of the job, or of what else it is.
    pub name: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<LinkOwnerInfo>,
}

/// Where an owner is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkOwnerInfo {
    /// Instance group; missing for a variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_group: Option<String>,
}

/// What the three lists say of the jobs of a deployment.
pub(crate) fn of_jobs(providers: &[LinkProvider], consumers: &[LinkConsumer], links: &[Link]) -> DeploymentLinks {
    let provided = providers.iter().filter_map(|row| {
        let (group, job) = row.owner_object.job()?;
        let (id, name) = (row.id.clone(), row.name.clone());
        Some(ProvidedLink { id, name, group: group.to_owned(), job: job.to_owned() })
    });
    let groups: BTreeMap<&str, &str> =
        consumers.iter().filter_map(|row| Some((row.id.as_str(), row.owner_object.job()?.0))).collect();
    let consumed = links.iter().filter_map(|link| {
        let group = groups.get(link.link_consumer_id.as_deref()?)?;
        Some(ConsumedLink { group: (*group).to_owned(), provider: link.link_provider_id.clone()? })
    });
    let mut found = DeploymentLinks { provided: provided.collect(), consumed: consumed.collect() };
    // The director's lists have no order.
    found.provided.sort_unstable();
    found.consumed.sort_unstable();
    found.consumed.dedup();
    found
}

impl LinkOwner {
    /// Instance group and name of a job.
    fn job(&self) -> Option<(&str, &str)> {
        let group = self.info.as_ref()?.instance_group.as_deref()?;
        (self.kind == JOB && !group.is_empty()).then_some((group, &self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: serde::de::DeserializeOwned>(json: &str) -> T {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn recorded_lists_say_which_group_consumes_what_which_job_provides() {
        let providers: Vec<_> = read(include_str!("../../../../tests/fixtures/director/link_providers.json"));
        let shop = of_jobs(&providers, &[], &[]);
        let provided: Vec<_> = shop.provided.iter().map(|one| (&*one.id, &*one.group, &*one.job, &*one.name)).collect();
        assert_eq!(provided, [("2", "web", "storefront", "web"), ("3", "catalog", "catalog", "shop-catalog")]);
        let consumers: Vec<_> = read(include_str!("../../../../tests/fixtures/director/link_consumers.json"));
        let links: Vec<_> = read(include_str!("../../../../tests/fixtures/director/links.json"));
        let payments = of_jobs(&[], &consumers, &links);
        let consumed: Vec<_> = payments.consumed.iter().map(|one| (&*one.group, &*one.provider)).collect();
        assert_eq!(consumed, [("api", "1"), ("api", "3")]);
    }

    #[test]
    fn what_no_job_consumes_or_provides_is_left_out() {
        let consumers: Vec<LinkConsumer> = read(
            r#"[{"id":"1","name":"a","optional":false,"deployment":"d",
                 "link_consumer_definition":{"name":"a","type":"t"},
                 "owner_object":{"type":"variable","name":"cert","info":{}}},
                {"id":"2","name":null,"optional":true,"deployment":"d",
                 "link_consumer_definition":{"name":"a","type":"t"},
                 "owner_object":{"type":"external","name":"x","info":{"instance_group":""}}}]"#,
        );
        let link = |consumer: &str, provider: Option<&str>| Link {
            id: "9".into(),
            name: "a".into(),
            link_consumer_id: Some(consumer.into()),
            link_provider_id: provider.map(str::to_owned),
            created_at: String::new(),
        };
        let links = [link("1", Some("5")), link("2", Some("5")), link("3", Some("5")), link("1", None)];
        assert_eq!(of_jobs(&[], &consumers, &links), DeploymentLinks::default());
    }
}
