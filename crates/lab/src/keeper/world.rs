//! The director of the lab, and what it wants.

use std::{net::TcpListener, sync::Arc};

use boshy_director::embedded::{
    Account, Authentication, EmbeddedDirector, EmbeddedSettings, Handle, World as DirectorWorld, WorldView,
};
use tokio::sync::watch;

use super::DIRECTOR;
use crate::{
    error::{Doing, LabError},
    facts::Wanted,
    job_config::{CLOUD_CONFIG, DirectorAccess},
};

/// The pilot's account.
const USERNAME: &str = "admin";

/// A director that runs.
pub(super) struct World {
    director: Handle,
}

impl World {
    /// Starts a director on the lab's network, which must be that of the calling thread.
    pub(super) fn start() -> Result<Self, LabError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| LabError::Director {
            operation: "starting the director".to_owned(),
            source,
        };
        let (password, seed) = (format!("{:016x}", rand::random::<u64>()), rand::random());
        let settings = EmbeddedSettings {
            name: "boshy-lab".to_owned(),
            authentication: Authentication::Basic(vec![Account::admin(USERNAME, &password)]),
            ..EmbeddedSettings::default()
        };
        let world = DirectorWorld::new(CLOUD_CONFIG, true, seed).map_err(|error| failed(error.into()))?;
        let listener = TcpListener::bind(DIRECTOR).doing(|| format!("listening on {DIRECTOR}"))?;
        let director = EmbeddedDirector::start(listener, settings, world).map_err(|error| failed(error.into()))?;
        Ok(Self { director })
    }

    /// What is deployed, now and whenever it changes.
    pub(super) fn view(&self) -> watch::Receiver<Arc<WorldView>> {
        self.director.subscribe()
    }

    /// The VMs that should be there now.
    pub(super) fn wanted(&self) -> Wanted {
        Wanted::new(&self.view().borrow())
    }

    pub(super) fn access(&self) -> DirectorAccess {
        let credentials = self.director.credentials();
        DirectorAccess {
            url: self.director.url(),
            ca_pem: self.director.ca_pem().to_owned(),
            username: credentials.name,
            password: credentials.secret,
        }
    }

    pub(super) fn deploy(&self, manifest: &str) -> Result<(), LabError> {
        self.director
            .deploy(manifest)
            .map(drop)
            .map_err(|source| LabError::Director { operation: "deploying".to_owned(), source: Box::new(source) })
    }

    pub(super) fn delete(&self, deployment: &str) -> Result<(), LabError> {
        self.director.delete(deployment).map(drop).map_err(|source| LabError::Director {
            operation: format!("deleting {deployment}"),
            source: Box::new(source),
        })
    }
}
