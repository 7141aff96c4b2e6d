//! Requests for links.

use boshy_mesh::DeploymentLinks;

use super::{ClientError, DirectorClient, Operation, segment};
use crate::wire::{self, Link, LinkConsumer, LinkProvider};

impl DirectorClient {
    /// `GET /link_consumers`, `/links` and `/link_providers`: what the jobs of a deployment consume and provide.
    ///
    /// # Errors
    /// When a request fails.
    pub async fn links(&self, deployment: &str) -> Result<DeploymentLinks, ClientError> {
        let of = segment(deployment);
        let operation = || Operation::Links(deployment.to_owned());
        let consumers: Vec<LinkConsumer> = self.get(operation(), &format!("/link_consumers?deployment={of}")).await?;
        let links: Vec<Link> = self.get(operation(), &format!("/links?deployment={of}")).await?;
        let providers: Vec<LinkProvider> = self.get(operation(), &format!("/link_providers?deployment={of}")).await?;
        Ok(wire::of_jobs(&providers, &consumers, &links))
    }
}
