//! One request, with all that an answer depends on.

use boshy_mesh::Timestamp;

use crate::{auth::Caller, request::Request};

/// A request to a director with its caller and time.
pub(super) struct Asked<'a> {
    pub(super) request: &'a Request,
    pub(super) caller: &'a Caller,
    /// Teams to which a list is restricted; `None` for a caller that may read everything.
    pub(super) only_teams: Option<Vec<String>>,
    pub(super) now: Timestamp,
    pub(super) ssh_hint: &'a str,
}

impl Asked<'_> {
    /// Whether a list shows the caller an item of these teams.
    pub(super) fn is_shown(&self, teams: &[String]) -> bool {
        self.only_teams.as_ref().is_none_or(|own| own.iter().any(|team| teams.contains(team)))
    }
}
