//! Settings of the authority that issues workloads' certificates.

use std::{
    fs, iter,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use boshy_identity::{AuthorityError, AuthorityFiles, BoshAgents, CertificateAuthority, TrustBundle};
use boshy_mesh::{Timestamp, TrustDomain};
use boshy_tls::ServerFiles;
use secrecy::SecretString;
use serde::Deserialize;

use crate::load::SettingsError;

/// Shortest life of a certificate, which is for trying out what happens when it ends. Renewal begins at half of it, and
/// a pilot lets an address ask each six seconds.
const SHORTEST: Duration = Duration::from_secs(12);
/// Longest life of a certificate.
const LONGEST: Duration = Duration::from_secs(90 * 24 * 3600);

/// The authority that issues workloads' certificates, after its check. It may have expired.
#[derive(Clone, Debug)]
pub struct IdentitySettings {
    /// The trust domain of all identities.
    pub trust_domain: TrustDomain,
    /// Life of a certificate.
    pub leaf_life: Duration,
    /// Whose word a VM needs for its first certificate; `None` when its address is enough.
    pub bosh_agents: Option<BoshAgents>,
    /// PEM text of the certificate that issues, and its issuers.
    certificate: String,
    private_key: SecretString,
    roots: Option<String>,
    /// Certificate and key of the authority of before.
    previous: Option<(String, SecretString)>,
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
    /// The authority that has issued before, while some workloads may not trust the roots of this one.
    pub previous: Option<PreviousFiles>,
    /// The CA of the director's BOSH agents. With it, a VM gets its first certificate only when its own BOSH agent
    /// vouches for the request.
    pub bosh_agent_ca_file: Option<PathBuf>,
    /// Life of a certificate.
    #[serde(default = "one_day", with = "humantime_serde")]
    pub leaf_life: Duration,
}

/// The files of the authority that has issued before.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviousFiles {
    /// Its certificate; its issuers may follow it. `roots_file` has the root.
    pub ca_certificate_file: PathBuf,
    /// Its private key.
    pub ca_private_key_file: PathBuf,
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

    /// Opens the authority that has issued before, if there is one.
    ///
    /// # Errors
    /// When it has expired.
    pub fn open_previous(&self, now: Timestamp) -> Option<Result<CertificateAuthority, AuthorityError>> {
        Some(CertificateAuthority::open(self.texts_of_previous()?, now))
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

    fn texts_of_previous(&self) -> Option<AuthorityFiles<'_>> {
        let (certificate, private_key) = self.previous.as_ref()?;
        Some(AuthorityFiles { certificate, private_key, roots: self.roots.as_deref() })
    }

    /// Lets a server accept certificates that the authority has issued, beside those of the deployments' CA. `file` is
    /// the settings file, which an error names.
    ///
    /// # Errors
    /// When the deployments' CA has a key of the authority. The issuer of a certificate says whether it is a
    /// workload's or a deployment's.
    pub fn admit(&self, server: &mut ServerFiles, file: &Path) -> Result<(), SettingsError> {
        let bundles = iter::once(self.texts()).chain(self.texts_of_previous()).map(|texts| texts.bundle());
        let bundles: Result<Vec<_>, _> = bundles.collect();
        let bundles = bundles.map_err(|error| SettingsError::key(file, key_of(&error), error))?;
        for path in &server.client_ca {
            // A file that cannot be read, or is no PEM, is found by whoever opens the server.
            let text = fs::read_to_string(path).unwrap_or_default();
            let shared = bundles.iter().filter_map(|bundle| bundle.shared_with(&text).ok().flatten()).next();
            if let Some(shared) = shared {
                let reason =
                    format!("must be another CA than `identity` has: workloads are known by it, and it is {shared}");
                return Err(SettingsError::key(file, "xds.tls.client_ca_file", reason));
            }
        }
        server.client_ca.extend(self.files.iter().cloned());
        Ok(())
    }
}

impl IdentityFiles {
    /// Reads the files and checks the authority. `file` is the settings file, which an error names.
    ///
    /// # Errors
    /// The key and the reason.
    pub fn check(self, file: &Path) -> Result<IdentitySettings, SettingsError> {
        if !(SHORTEST..=LONGEST).contains(&self.leaf_life) {
            return Err(SettingsError::key(file, "identity.leaf_life", "must be from 12s to 90d"));
        }
        let read = |path: &Path| {
            fs::read_to_string(path).map_err(|source| SettingsError::Unreadable { file: path.to_owned(), source })
        };
        let bosh_agents = self.bosh_agent_ca_file.as_deref().map(read).transpose()?;
        let bosh_agents = bosh_agents.map(|text| BoshAgents::from_pem(&text)).transpose();
        let settings = IdentitySettings {
            bosh_agents: bosh_agents.map_err(|error| SettingsError::key(file, "identity.bosh_agent_ca_file", error))?,
            certificate: read(&self.ca_certificate_file)?,
            private_key: read(&self.ca_private_key_file)?.into(),
            roots: self.roots_file.as_deref().map(read).transpose()?,
            previous: self.previous.map(|previous| previous.read(read)).transpose()?,
            trust_domain: self.trust_domain,
            leaf_life: self.leaf_life,
            files: [self.ca_certificate_file].into_iter().chain(self.roots_file).collect(),
        };
        let refused = |opened: Result<_, AuthorityError>| match opened {
            // It was good when it was deployed. The pilot says so in its status, and goes on serving the mesh.
            Ok(_) | Err(AuthorityError::Expired(_)) => None,
            Err(error) => Some(error),
        };
        if let Some(error) = refused(settings.open(now())) {
            return Err(SettingsError::key(file, key_of(&error), error));
        }
        if let Some(error) = settings.open_previous(now()).and_then(refused) {
            let key = key_of(&error).replace("identity.ca_", "identity.previous.ca_");
            return Err(SettingsError::key(file, &key, error));
        }
        Ok(settings)
    }
}

impl PreviousFiles {
    fn read(
        self,
        read: impl Fn(&Path) -> Result<String, SettingsError>,
    ) -> Result<(String, SecretString), SettingsError> {
        Ok((read(&self.ca_certificate_file)?, read(&self.ca_private_key_file)?.into()))
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
