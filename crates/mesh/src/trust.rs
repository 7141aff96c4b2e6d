//! How far the mesh is with a change of its roots, as one pilot sees it.
//!
//! A root is replaced in three steps. Each is a deploy of the pilots, and is safe when the step before has reached every
//! instance:
//!
//! ```text
//!   trust the old root ──> trust both ──> certificates under the new root ──> trust the new root
//!                                    ^                                   ^
//!                        every instance trusts both          no certificate is of the old authority
//!                           (RotationStep::Sign)                   (RotationStep::Retire)
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::AgentReport;

/// A certificate of an authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityCertificate {
    /// SHA-256 of the certificate, in lower-case hexadecimal digits.
    pub fingerprint: String,
    /// Its subject, such as `CN=boshy-mesh-identity`.
    pub subject: String,
    /// When it expires, in seconds since the Unix epoch.
    pub end: u64,
}

/// What a pilot issues certificates with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshAuthority {
    /// The certificate that issues those of workloads. It may be a root itself.
    pub issuer: AuthorityCertificate,
    /// Fingerprint of the root above it.
    pub root: String,
    /// All roots that workloads are told to trust.
    pub roots: Vec<AuthorityCertificate>,
}

/// The roots of a mesh, and who trusts which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustStanding {
    /// The certificate that issues those of workloads.
    pub issuer: AuthorityCertificate,
    /// The roots that workloads are told to trust.
    pub roots: Vec<RootStanding>,
    /// Number of instances that report, or may have a certificate that is valid.
    pub instances: usize,
    /// Those that do not report, as `DEPLOYMENT/GROUP/ID`.
    pub silent: Vec<String>,
    /// Those whose certificate another issuer has issued, as far as is known.
    pub of_others: Vec<String>,
    /// Those that may refuse certificates of the issuer, because they are not known to trust the root above it.
    pub distrustful: Vec<String>,
}

/// A root, and who does not trust it yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootStanding {
    /// The root.
    #[serde(flatten)]
    pub certificate: AuthorityCertificate,
    /// Number of instances that report, and whose Envoy trusts it.
    pub trusted_by: usize,
    /// Instances that report, and whose Envoy does not trust it.
    pub missing: Vec<String>,
}

/// What is known of an instance.
#[derive(Clone, Debug)]
pub struct InstanceTrust<'a> {
    /// `DEPLOYMENT/GROUP/ID`.
    pub title: String,
    /// What its agent reports. `None` when it does not report.
    pub report: Option<&'a AgentReport>,
    /// Fingerprint of what has issued its latest certificate at this pilot. `None` when that is not known.
    pub issued_by: Option<&'a str>,
}

/// A step in the change of a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationStep {
    /// To issue certificates by an authority under another one of the roots.
    Sign,
    /// To take out roots under which no certificate is issued any more.
    Retire,
}

impl InstanceTrust<'_> {
    fn trusts(&self, root: &str) -> Option<bool> {
        Some(self.report?.roots.contains(root))
    }

    fn issuer(&self) -> Option<&str> {
        self.report.map_or(self.issued_by, |report| report.issuer.as_deref())
    }
}

impl TrustStanding {
    /// Counts the instances.
    pub fn count(authority: &MeshAuthority, instances: &[InstanceTrust<'_>]) -> Self {
        let MeshAuthority { issuer, root, roots } = authority;
        let named = |are: &dyn Fn(&InstanceTrust<'_>) -> bool| -> Vec<String> {
            instances.iter().filter(|instance| are(instance)).map(|instance| instance.title.clone()).collect()
        };
        let standing = |certificate: &AuthorityCertificate| RootStanding {
            missing: named(&|instance| instance.trusts(&certificate.fingerprint) == Some(false)),
            trusted_by: named(&|instance| instance.trusts(&certificate.fingerprint) == Some(true)).len(),
            certificate: certificate.clone(),
        };
        let is_of_another = |instance: &InstanceTrust<'_>| instance.issuer() != Some(&*issuer.fingerprint);
        Self {
            roots: roots.iter().map(standing).collect(),
            instances: instances.len(),
            silent: named(&|instance| instance.report.is_none()),
            of_others: named(&is_of_another),
            // With a certificate of the issuer came the root.
            distrustful: named(&|instance| !instance.trusts(root).unwrap_or_else(|| !is_of_another(instance))),
            issuer: issuer.clone(),
        }
    }

    /// Whether a step can be taken without a failed connection.
    ///
    /// # Errors
    /// What is missing, in lines for people.
    pub fn check(&self, step: RotationStep) -> Result<(), Vec<String>> {
        let mut missing = match step {
            RotationStep::Sign => self.unready_to_sign(),
            RotationStep::Retire => {
                let reason = |title: &String| format!("{title} has no certificate of {} yet", self.issuer.subject);
                self.of_others.iter().filter(|title| !self.silent.contains(title)).map(reason).collect()
            }
        };
        missing.extend(self.silent.iter().map(|title| format!("{title} does not report")));
        if self.instances == 0 {
            missing.push("no instance reports to this pilot".to_owned());
        }
        if missing.is_empty() { Ok(()) } else { Err(missing) }
    }

    fn unready_to_sign(&self) -> Vec<String> {
        if let [only] = &self.roots[..] {
            let subject = &only.certificate.subject;
            return vec![format!(
                "the pilot has one root, {subject}: deploy it with the next one, too (identity.roots)"
            )];
        }
        self.roots.iter().flat_map(RootStanding::untrusting).collect()
    }

    /// Whether every instance trusts the root above the issuer, so that nobody refuses its certificates. Nothing follows
    /// from a mesh of which nothing is known.
    pub fn is_trusted_by_all(&self) -> bool {
        self.instances > 0 && self.distrustful.is_empty()
    }

    /// Who keeps the issuer from its work, while another one still does it.
    pub fn awaited(&self) -> String {
        let (subject, who) = (&self.issuer.subject, listed(&self.distrustful));
        let who =
            who.map_or_else(|| "agents have had time to report".to_owned(), |who| format!("{who} trust its root"));
        format!("{subject} issues no certificate until {who}; those of the authority before are issued meanwhile")
    }

    /// Why connections may fail now: who may refuse certificates of the issuer. `None` when nobody does.
    pub fn trouble(&self) -> Option<String> {
        let (subject, who) = (&self.issuer.subject, listed(&self.distrustful)?);
        Some(format!("{who} of {} instances may refuse certificates of {subject}", self.instances))
    }
}

/// The first of some instances, and how many more there are.
fn listed(titles: &[String]) -> Option<String> {
    let (first, more) = titles.split_first()?;
    let others = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    Some(format!("{first}{others}"))
}

impl RootStanding {
    fn untrusting(&self) -> impl Iterator<Item = String> {
        let AuthorityCertificate { subject, fingerprint, .. } = &self.certificate;
        self.missing.iter().map(move |title| format!("{title} does not trust {subject} ({fingerprint}) yet"))
    }
}

impl fmt::Display for TrustStanding {
    /// A line for each certificate, and one for each instance that is missing somewhere.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = |f: &mut fmt::Formatter<'_>, titles: &[String]| {
            titles.iter().try_for_each(|title| write!(f, "\n  not {title}"))
        };
        let (all, AuthorityCertificate { fingerprint, subject, .. }) = (self.instances, &self.issuer);
        let have = all - self.of_others.len();
        write!(f, "authority {fingerprint} ({subject}): {have} of {all} instances have its certificate")?;
        not(f, &self.of_others)?;
        for RootStanding { certificate, trusted_by, missing } in &self.roots {
            let AuthorityCertificate { fingerprint, subject, .. } = certificate;
            write!(f, "\nroot {fingerprint} ({subject}): {trusted_by} of {all} instances trust it")?;
            not(f, missing)?;
        }
        self.silent.iter().try_for_each(|title| write!(f, "\n{title} does not report"))
    }
}

#[cfg(test)]
#[path = "trust_tests.rs"]
mod tests;
