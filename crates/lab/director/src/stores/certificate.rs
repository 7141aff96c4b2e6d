//! Generates certificates from a variable's options, like a config server.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// Validity in days when the options do not set it.
const DEFAULT_DAYS: u64 = 365;

/// Options of a variable of type `certificate`. Unknown keys are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    is_ca: bool,
    /// Name of the variable whose certificate signs this one. Without it, the certificate is self-signed.
    pub(super) ca: Option<String>,
    common_name: Option<String>,
    organization: Option<String>,
    alternative_names: Vec<String>,
    extended_key_usage: Vec<String>,
    key_usage: Vec<String>,
    duration: Option<u64>,
}

/// A certificate, with its key for signing others.
pub(super) struct Made {
    params: CertificateParams,
    key: KeyPair,
    certificate_pem: String,
}

impl Made {
    /// The variable's value.
    pub(super) fn value(&self, ca: Option<&Self>) -> Value {
        let ca = ca.unwrap_or(self);
        json!({
            "ca": ca.certificate_pem,
            "certificate": self.certificate_pem,
            "private_key": self.key.serialize_pem(),
        })
    }
}

/// Generates a certificate.
///
/// # Errors
/// When an option is not valid, as a text.
pub(super) fn make(options: &Options, ca: Option<&Made>) -> Result<Made, String> {
    let params = params(options)?;
    let broken = |error: rcgen::Error| error.to_string();
    let key = KeyPair::generate().map_err(broken)?;
    let certificate = match ca {
        Some(ca) => params.signed_by(&key, &Issuer::new(ca.params.clone(), &ca.key)),
        None => params.self_signed(&key),
    };
    Ok(Made { certificate_pem: certificate.map_err(broken)?.pem(), params, key })
}

fn params(options: &Options) -> Result<CertificateParams, String> {
    let mut params = CertificateParams::new(options.alternative_names.clone()).map_err(|error| error.to_string())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(name) = &options.common_name {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    if let Some(name) = &options.organization {
        params.distinguished_name.push(DnType::OrganizationName, name);
    }
    #[expect(clippy::disallowed_methods, reason = "a certificate is valid by the time of day")]
    let now = SystemTime::now();
    let days = options.duration.unwrap_or(DEFAULT_DAYS).min(36_500);
    params.not_before = (now - Duration::from_secs(3600)).into();
    params.not_after = (now + Duration::from_secs(days * 24 * 3600)).into();
    params.use_authority_key_identifier_extension = options.ca.is_some();
    if options.is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    } else {
        params.is_ca = IsCa::ExplicitNoCa;
    }
    for usage in &options.key_usage {
        params.key_usages.push(key_usage(usage).ok_or_else(|| format!("unknown key_usage '{usage}'"))?);
    }
    for usage in &options.extended_key_usage {
        let usage = extended(usage).ok_or_else(|| format!("unknown extended_key_usage '{usage}'"))?;
        params.extended_key_usages.push(usage);
    }
    Ok(params)
}

fn extended(name: &str) -> Option<ExtendedKeyUsagePurpose> {
    Some(match name {
        "server_auth" => ExtendedKeyUsagePurpose::ServerAuth,
        "client_auth" => ExtendedKeyUsagePurpose::ClientAuth,
        "code_signing" => ExtendedKeyUsagePurpose::CodeSigning,
        "email_protection" => ExtendedKeyUsagePurpose::EmailProtection,
        "timestamping" => ExtendedKeyUsagePurpose::TimeStamping,
        _ => return None,
    })
}

fn key_usage(name: &str) -> Option<KeyUsagePurpose> {
    Some(match name {
        "digital_signature" => KeyUsagePurpose::DigitalSignature,
        "non_repudiation" => KeyUsagePurpose::ContentCommitment,
        "key_encipherment" => KeyUsagePurpose::KeyEncipherment,
        "data_encipherment" => KeyUsagePurpose::DataEncipherment,
        "key_agreement" => KeyUsagePurpose::KeyAgreement,
        "key_cert_sign" => KeyUsagePurpose::KeyCertSign,
        "crl_sign" => KeyUsagePurpose::CrlSign,
        _ => return None,
    })
}
