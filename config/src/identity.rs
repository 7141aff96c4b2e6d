//! Settings of the authority that issues workloads' certificates.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use boshy_identity::{AuthorityError, AuthorityFiles, CertificateAuthority, TrustBundle};
use boshy_mesh::{Timestamp, TrustDomain};
use boshy_tls::ServerFiles;
use secrecy::SecretString;
use serde::Deserialize;

use crate::load::SettingsError;

/// Shortest life of a certificate. Renewal begins at half of it, and a pilot may be away for a while.
const SHORTEST: Duration = Duration::from_secs(60);
/// Longest life of a certificate.
const LONGEST: Duration = Duration::from_secs(90 * 24 * 3600);

/// The authority that issues workloads' certificates, after its check. It may have expired.
#[derive(Clone, Debug)]
pub struct IdentitySettings {
    /// The trust domain of all identities.
    pub trust_domain: TrustDomain,
    /// Life of a certificate.
    pub leaf_life: Duration,
    /// PEM text of the certificate that issues, and its issuers.
    certificate: String,
    private_key: SecretString,
    roots: Option<String>,
    /// The files whose certificates verify those of workloads.
    files: Vec<PathBuf>,
}

/// The files of an authority, and what it issues, as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityFiles {
    /// The trust domain of all identities.
    #[serde(default)]
    pub trust_domain: TrustDomain,
    /// The certificate that issues; its issuers may follow it.
    pub ca_certificate_file: PathBuf,
    /// Its private key.
    pub ca_private_key_file: PathBuf,
    /// Roots that workloads trust. Needed unless the certificate is a root.
    pub roots_file: Option<PathBuf>,
    /// Life of a certificate.
    #[serde(default = "one_day", with = "humantime_serde")]
    pub leaf_life: Duration,
}

fn one_day() -> Duration {
    Duration::from_secs(24 * 3600)
}

impl IdentitySettings {
    /// Opens the authority.
    ///
    /// # Errors
    /// When it has expired.
    pub fn open(&self, now: Timestamp) -> Result<CertificateAuthority, AuthorityError> {
        CertificateAuthority::open(self.texts(), now)
    }

    /// The roots of workloads' certificates, also of an authority that has expired.
    ///
    /// # Errors
    /// None after the check.
    pub fn bundle(&self) -> Result<TrustBundle, AuthorityError> {
        self.texts().bundle()
    }

    fn texts(&self) -> AuthorityFiles<'_> {
        let Self { certificate, private_key, roots, .. } = self;
        AuthorityFiles { certificate, private_key, roots: roots.as_deref() }
    }

    /// Lets a server accept certificates that the authority has issued.
    pub fn admit(&self, server: &mut ServerFiles) {
        server.client_ca.extend(self.files.iter().cloned());
    }
}

impl IdentityFiles {
    /// Reads the files and checks the authority. `file` is the settings file, which an error names.
    ///
    /// # Errors
    /// The key and the reason.
    pub fn check(self, file: &Path) -> Result<IdentitySettings, SettingsError> {
        if !(SHORTEST..=LONGEST).contains(&self.leaf_life) {
            return Err(SettingsError::key(file, "identity.leaf_life", "must be from 1m to 90d"));
        }
        let read = |path: &Path| {
            fs::read_to_string(path).map_err(|source| SettingsError::Unreadable { file: path.to_owned(), source })
        };
        let settings = IdentitySettings {
            certificate: read(&self.ca_certificate_file)?,
            private_key: read(&self.ca_private_key_file)?.into(),
            roots: self.roots_file.as_deref().map(read).transpose()?,
            trust_domain: self.trust_domain,
            leaf_life: self.leaf_life,
            files: [self.ca_certificate_file].into_iter().chain(self.roots_file).collect(),
        };
        match settings.open(now()) {
            // It was good when it was deployed. The pilot says so in its status, and goes on serving the mesh.
            Ok(_) | Err(AuthorityError::Expired(_)) => Ok(settings),
            Err(error) => Err(SettingsError::key(file, key_of(&error), error)),
        }
    }
}

/// The setting at fault.
fn key_of(error: &AuthorityError) -> &'static str {
    match error {
        AuthorityError::NoKey | AuthorityError::WeakKey(_) | AuthorityError::KeyOfAnother => {
            "identity.ca_private_key_file"
        }
        AuthorityError::Roots(_) | AuthorityError::NoRoot(_) => "identity.roots_file",
        _ => "identity.ca_certificate_file",
    }
}

#[expect(clippy::disallowed_methods, reason = "certificates are valid by the time of day")]
fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}
