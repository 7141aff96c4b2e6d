//! Changes of configs, with their events.

use boshy_director::wire::{Config, ConfigPost};
use boshy_mesh::Timestamp;

use super::{PostRefused, World};
use crate::DirectorError;

impl World {
    /// Stores a version of a config.
    ///
    /// # Errors
    /// When it is refused.
    pub(in super::super) fn configure(
        &mut self,
        kind: &str,
        name: &str,
        content: &str,
        user: &str,
        now: Timestamp,
    ) -> Result<(), DirectorError> {
        let [kind, name, content] = [kind, name, content].map(|text| Some(text.to_owned()));
        let post = ConfigPost { kind, name, content, expected_latest_id: None };
        match self.post_config(&post, user, now) {
            Ok(_) => Ok(()),
            Err(PostRefused::Bad(error)) => Err(error),
            Err(PostRefused::Conflict(conflict)) => Err(DirectorError::bad_config(conflict.description)),
        }
    }

    /// Stores a version of a config, and records an event when it is new.
    pub(in super::super) fn post_config(
        &mut self,
        post: &ConfigPost,
        user: &str,
        now: Timestamp,
    ) -> Result<Config, PostRefused> {
        let known = self.configs.count();
        let config = self.configs.post(post, now)?;
        if self.configs.count() > known {
            self.journal.note(user, "create", &format!("config/{}", config.kind), &config.name, now);
        }
        Ok(config)
    }
}
