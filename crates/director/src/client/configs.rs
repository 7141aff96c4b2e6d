//! Requests for configs.

use secrecy::SecretString;
use serde_json::json;

use super::{ClientError, DirectorClient, Operation, answer::failed, segment};
use crate::wire::{Config, DeploymentConfig};

impl DirectorClient {
    /// `GET /configs` of a type: the latest version of each name, in the director's order.
    ///
    /// # Errors
    /// When the request fails.
    pub async fn configs(&self, kind: &'static str) -> Result<Vec<Config>, ClientError> {
        self.get(Operation::Configs(kind), &format!("/configs?type={kind}&latest=true")).await
    }

    /// `GET /configs/:id`, of any version that was not deleted.
    ///
    /// # Errors
    /// When the request fails.
    pub async fn config(&self, id: u64) -> Result<Config, ClientError> {
        self.get(Operation::Config(id), &format!("/configs/{id}")).await
    }

    /// `GET /deployment_configs`: the configs that a deployment was deployed with.
    ///
    /// # Errors
    /// When the request fails.
    pub async fn configs_of(&self, deployment: &str) -> Result<Vec<DeploymentConfig>, ClientError> {
        let path = format!("/deployment_configs?deployment[]={}", segment(deployment));
        self.get(Operation::DeploymentConfigs(deployment.to_owned()), &path).await
    }

    /// `GET /configs` of a type and name: its newest versions, at most `limit`, the one with the highest id first. Ids say
    /// nothing about the order in which versions became visible.
    ///
    /// # Errors
    /// When the request fails.
    pub async fn config_versions(&self, kind: &str, name: &str, limit: u32) -> Result<Vec<Config>, ClientError> {
        let (kind, name) = (segment(kind), segment(name));
        let path = format!("/configs?type={kind}&name={name}&latest=false&limit={limit}");
        self.get(Operation::ConfigVersions { kind, name }, &path).await
    }

    /// `POST /configs`, like `bosh update-config`: a new latest version, whatever the latest was. Creates no task. A
    /// content that equals the latest version's creates no version.
    ///
    /// # Errors
    /// When the director does not accept it.
    pub async fn update_config(&self, kind: &str, name: &str, content: &str) -> Result<(), ClientError> {
        let body = json!({"type": kind, "name": name, "content": content}).to_string();
        let post = async |login: &SecretString| self.post("/configs", "application/json", body.as_bytes(), login).await;
        let answer = self.with_login(post).await;
        let taken = answer.and_then(|answer| if answer.status.is_success() { Ok(()) } else { Err(failed(&answer)) });
        taken.map_err(|cause| {
            let operation = Operation::UpdateConfig { kind: kind.to_owned(), name: name.to_owned() };
            ClientError { operation, cause }
        })
    }
}
