//! Settings of an embedded director.

use std::{fmt, path::PathBuf, sync::Arc};

use super::{Account, Authentication, Infrastructure};

/// Settings of an embedded director.
#[derive(Clone)]
pub struct EmbeddedSettings {
    /// Its name.
    pub name: String,
    /// Its uuid.
    pub uuid: String,
    /// DNS names and addresses in its certificate, in addition to the listening address.
    pub names: Vec<String>,
    /// Accounts. Its handle acts as the first one.
    pub authentication: Authentication,
    /// Largest request body in bytes.
    pub max_body: usize,
    /// Creates VMs. With it, releases, stemcells and variables are checked and tasks take time. Without it, everything
    /// is on paper and completed at once.
    pub infrastructure: Option<Arc<dyn Infrastructure>>,
    /// Folder for the archives of uploaded packages, which stay as long as the director runs.
    pub store: PathBuf,
    /// Initial stemcells: operating system and version.
    pub stemcells: Vec<(String, String)>,
    /// Answer to `bosh ssh`: how to get into a VM instead.
    pub ssh_hint: String,
}

impl fmt::Debug for EmbeddedSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, uuid, names, authentication, max_body, infrastructure, store, stemcells, ssh_hint } = self;
        formatter
            .debug_struct("EmbeddedSettings")
            .field("name", name)
            .field("uuid", uuid)
            .field("names", names)
            .field("authentication", authentication)
            .field("max_body", max_body)
            .field("has_infrastructure", &infrastructure.is_some())
            .field("store", store)
            .field("stemcells", stemcells)
            .field("ssh_hint", ssh_hint)
            .finish()
    }
}

impl Default for EmbeddedSettings {
    /// A director with the local user `admin`, password `admin`.
    fn default() -> Self {
        Self {
            name: "embedded".to_owned(),
            uuid: "bc148442-1317-4d10-bfe9-322b20186179".to_owned(),
            names: vec!["localhost".to_owned()],
            authentication: Authentication::Basic(vec![Account::admin("admin", "admin")]),
            max_body: 256 << 20,
            infrastructure: None,
            store: PathBuf::new(),
            stemcells: Vec::new(),
            ssh_hint: "This director has no SSH".to_owned(),
        }
    }
}
