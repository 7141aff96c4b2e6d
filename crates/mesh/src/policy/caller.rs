//! Who opens a connection, as policies see him.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

use crate::SpiffeId;

/// Who opens a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// What his certificate says; `None` for who connects in plaintext.
    pub identity: Option<SpiffeId>,
    /// His address, or a network whose addresses are all meant. While it is not known, no network contains it.
    pub address: Option<IpNet>,
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// It is neither an address nor a network.
    #[error("must be an address or a network, such as 10.9.0.0/16, is {0:?}")]
    Form(String),
    /// It names an address within the network, and may mean the one or the other.
    #[error("has more bits than its prefix: write {network}, or the address alone, instead of {written:?}")]
    Beyond {
        /// As written.
        written: String,
        /// The network.
        network: IpNet,
    },
}

/// A network of callers: `10.9.0.0/16`, or a single address.
///
/// # Errors
/// When it is none, or an address of a network that has more than one.
pub fn network(written: &str) -> Result<IpNet, NetworkError> {
    if let Ok(address) = written.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let network: IpNet = written.parse().map_err(|_| NetworkError::Form(written.to_owned()))?;
    if network != network.trunc() {
        return Err(NetworkError::Beyond { written: written.to_owned(), network: network.trunc() });
    }
    Ok(network)
}

impl From<SpiffeId> for Caller {
    /// Who has this identity, wherever he is.
    fn from(identity: SpiffeId) -> Self {
        Self { identity: Some(identity), address: None }
    }
}

impl From<IpNet> for Caller {
    /// Who connects in plaintext from there.
    fn from(network: IpNet) -> Self {
        Self { identity: None, address: Some(network) }
    }
}

/// `spiffe://…`, an address, or both.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address.map(|network| match network.prefix_len() == network.max_prefix_len() {
            true => network.addr().to_string(),
            false => network.to_string(),
        });
        match (&self.identity, address) {
            (Some(identity), Some(address)) => write!(f, "{identity} at {address}"),
            (Some(identity), None) => identity.fmt(f),
            (None, address) => f.write_str(address.as_deref().unwrap_or("anybody")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_written_without_bits_of_an_address() {
        for (written, meant) in
            [("10.9.0.0/16", "10.9.0.0/16"), ("10.9.0.1", "10.9.0.1/32"), ("fd00::1", "fd00::1/128")]
        {
            assert_eq!(network(written).unwrap().to_string(), meant);
        }
        let beyond = network("10.9.0.1/16").unwrap_err().to_string();
        assert!(beyond.contains("write 10.9.0.0/16, or the address alone"), "{beyond}");
        for written in ["", "10.9", "10.9.0.0/33", "web", "10.9.0.0/"] {
            assert!(matches!(network(written), Err(NetworkError::Form(_))), "{written}");
        }
    }

    #[test]
    fn a_caller_is_called_by_what_is_known_of_him() {
        let identity: SpiffeId = "spiffe://boshy/ns/shop/sa/web".parse().unwrap();
        let at = network("10.0.0.2").ok();
        assert_eq!(
            Caller { identity: Some(identity), address: at }.to_string(),
            "spiffe://boshy/ns/shop/sa/web at 10.0.0.2"
        );
        assert_eq!(Caller { identity: None, address: at }.to_string(), "10.0.0.2");
    }
}
