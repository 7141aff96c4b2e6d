//! `POST /oauth/token` of a UAA.

use secrecy::SecretString;
use serde::Deserialize;

/// A token for `client_credentials`. There is no refresh token for this grant.
#[derive(Clone, Debug, Deserialize)]
pub struct Token {
    /// The token to send.
    pub access_token: SecretString,
    /// Lifetime in seconds.
    pub expires_in: u64,
}
