//! The methods of the v1 API.

use std::fmt;

/// Methods of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    AllEndpoints,
    Endpoints,
    Listeners,
    Clusters,
    Routes,
    AvailabilityZone,
}

/// Shows the word with which error texts begin.
impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AllEndpoints | Self::Endpoints => "EDS",
            Self::Listeners => "LDS",
            Self::Clusters => "CDS",
            Self::Routes => "RDS",
            Self::AvailabilityZone => "AvailabilityZone",
        })
    }
}
