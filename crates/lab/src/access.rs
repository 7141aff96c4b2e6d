//! Access to the lab's director from the host.

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Doing, LabError},
    state_dir::StateDir,
};

/// Address, CA and credentials of the director.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// `https://127.0.0.1:PORT`.
    pub(crate) url: String,
    /// The CA of its certificate, as PEM text.
    pub(crate) ca_pem: String,
    /// User, or UAA client.
    pub(crate) client: String,
    /// Its password or secret.
    pub(crate) secret: SecretString,
}

#[derive(Serialize, Deserialize)]
struct Written {
    url: String,
    ca_pem: String,
    client: String,
    secret: String,
}

impl Access {
    /// Writes the access data for the commands, readable only by the lab's owner.
    pub(crate) fn write(&self, state: &StateDir) -> Result<(), LabError> {
        let path = state.access();
        let doing = || format!("writing {}", path.display());
        let Self { url, ca_pem, client, secret } = self.clone();
        let written = Written { url, ca_pem, client, secret: secret.expose_secret().to_owned() };
        let text = serde_json::to_vec(&written).doing(doing)?;
        let file = fs::File::options().create_new(true).write(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(&text)).doing(doing)
    }

    /// Reads the access data that the keeper wrote.
    pub(crate) fn read(state: &StateDir) -> Result<Self, LabError> {
        let path = state.access();
        let doing = || format!("reading {}", path.display());
        let text = fs::read(&path).doing(doing)?;
        let Written { url, ca_pem, client, secret } = serde_json::from_slice(&text).doing(doing)?;
        Ok(Self { url, ca_pem, client, secret: secret.into() })
    }

    /// Shell code for `eval` that sets the environment variables of the BOSH CLI.
    pub(crate) fn exports(&self) -> String {
        let variables = [
            ("BOSH_ENVIRONMENT", self.url.as_str()),
            ("BOSH_CA_CERT", &self.ca_pem),
            ("BOSH_CLIENT", &self.client),
            ("BOSH_CLIENT_SECRET", self.secret.expose_secret()),
        ];
        variables.map(|(name, value)| format!("export {name}={}", quoted(value))).join("\n")
    }
}

/// Quotes a text as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_back_exactly_what_was_meant() {
        let secret = "a'b \"c\" $HOME `id`\nlast\\";
        let access = Access {
            url: "https://127.0.0.1:25555".to_owned(),
            ca_pem: "-----BEGIN\nx\n".to_owned(),
            client: "admin".to_owned(),
            secret: secret.into(),
        };
        let script = format!("{}\nprintf %s \"$BOSH_CLIENT_SECRET\"", access.exports());
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), secret);
    }

    #[test]
    fn only_the_owner_may_read_the_secret() {
        use std::os::unix::fs::PermissionsExt;
        let host = tempfile::tempdir().unwrap();
        let state = StateDir::new(Some(&host.path().join("lab"))).unwrap();
        let _lock = state.claim().unwrap().unwrap();
        let access = Access { url: "u".to_owned(), ca_pem: "p".to_owned(), client: "c".to_owned(), secret: "s".into() };
        access.write(&state).unwrap();
        assert_eq!(fs::metadata(state.access()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Access::read(&state).unwrap().exports(), access.exports());
    }
}
