//! `GET /events`.

use serde::{Deserialize, Serialize};

/// One event. Empty fields are left out by the director.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Id, as text. It comes from a sequence and may become visible out of order.
    pub id: String,
    /// At the end of an operation: the id of its start event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<String>,
    /// Seconds since 1970.
    pub timestamp: i64,
    /// User who caused it.
    #[serde(default)]
    pub user: String,
    /// `create`, `update`, `delete`, `acquire`, `release`, ...
    #[serde(default)]
    pub action: String,
    /// `deployment`, `instance`, `vm`, `lock`, `config/TYPE`, ...
    #[serde(default)]
    pub object_type: String,
    /// Name of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_name: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Task number, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Deployment it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
    /// Instance, as `GROUP/ID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Further data, by kind.
    #[serde(default)]
    pub context: serde_json::Value,
}
