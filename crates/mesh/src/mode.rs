//! What a port accepts.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an exposed port accepts. The words are those of Istio's `PeerAuthentication`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum MtlsMode {
    /// Plaintext only.
    #[default]
    Disable,
    /// Mutual TLS from callers in the mesh, plaintext from any other.
    Permissive,
    /// Mutual TLS only.
    Strict,
}

/// As Istio writes it.
impl fmt::Display for MtlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disable => "DISABLE",
            Self::Permissive => "PERMISSIVE",
            Self::Strict => "STRICT",
        })
    }
}
