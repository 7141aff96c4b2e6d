//! What a written field means, and what is said when it means nothing.

use boshy_mesh::{Pattern, SpiffeId};

/// Fields of a source or an operation that need a proxy which reads requests.
pub(crate) const NEEDS_HTTP: &str =
    "is about HTTP requests; it is refused until HTTP routes exist, because it would not be enforced";
/// Service accounts.
pub(crate) const NO_ACCOUNTS: &str =
    "is not supported: name the group with `principals`, as TRUST_DOMAIN/ns/DEPLOYMENT/sa/GROUP";
/// A list or map without content.
pub(crate) const EMPTY: &str = "must not be empty: leave it out to match everything";
/// `metadata.namespace` for all deployments.
pub(crate) const EVERYWHERE: &str = "*";

/// A port number.
pub(crate) fn port(written: &str) -> Result<u16, String> {
    match written.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("must be a port number from 1 to 65535, is {written:?}")),
    }
}

/// A pattern of identities. `spiffe://` may be left out, as in Istio.
pub(crate) fn principal(written: &str) -> Result<Pattern, String> {
    let text = written.strip_prefix("spiffe://").unwrap_or(written);
    let pattern = Pattern::parse(text).map_err(|error| error.to_string())?;
    match &pattern {
        Pattern::Exact(text) => SpiffeId::from_principal(text).map(|_| pattern).map_err(|error| error.to_string()),
        Pattern::Any | Pattern::Prefix(_) | Pattern::Suffix(_) => Ok(pattern),
    }
}

/// A pattern of deployments.
pub(crate) fn namespace(written: &str) -> Result<Pattern, String> {
    match Pattern::parse(written) {
        Ok(_) if written.contains('/') => Err(format!("must be the name of a deployment, is {written:?}")),
        pattern => pattern.map_err(|error| error.to_string()),
    }
}

/// A choice of words; the error lists them.
pub(crate) fn word<T: Copy>(written: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == written);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        format!("must be {}, is {written:?}", known.join(" or "))
    })
}
