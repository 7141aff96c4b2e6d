//! Versions of the table of leases that several pilots share, on their way to agents.
//!
//! A pilot says in the headers of a stream which version it serves ([`MeshTold`](crate::MeshTold)). The version of all
//! names begins with it as well, so that a stream on which a later one arrives says so. An agent remembers the latest one
//! with its names, and leaves a pilot that has an earlier one.

use tonic::codegen::http::HeaderMap;

/// Header in which an agent says which version its names are of.
pub(crate) const KNOWN: &str = "boshy-table-known";
/// Stands between the version of the table and that of the names.
const END: char = '/';

/// What the version of all names begins with.
pub(crate) fn label(table: u64) -> String {
    format!("{table}{END}")
}

/// The version of the table in that of all names. `None` from a pilot with a table of its own, and from an older one.
pub(crate) fn of_names(version: &str) -> Option<u64> {
    version.split_once(END)?.0.parse().ok()
}

/// Whether a pilot that says this has an older table than an agent that knows that. A pilot with a table of its own has
/// none that could be compared.
pub(crate) fn is_older(told: Option<u64>, known: Option<u64>) -> bool {
    told.is_some() && told < known
}

/// What an agent says that it knows.
pub(crate) fn known(headers: &HeaderMap) -> Option<u64> {
    headers.get(KNOWN)?.to_str().ok()?.parse().ok()
}
