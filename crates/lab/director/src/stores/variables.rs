//! Variables, whose values are generated and kept like in a config server.
//!
//! A value is generated once and stays until the options of its variable, or the certificate that signs it, change.
//!
//! Not promised: `rsa` and `ssh`, and rotation.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use rand::{RngExt, distr::Alphanumeric};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::certificate::{self, Made, Options};
use crate::DirectorError;

const BAD_NAME: u32 = 540_004;
const CANNOT_GENERATE: u32 = 540_005;
const PASSWORD_LENGTH: usize = 30;

/// A variable as a manifest declares it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct VariableSpec {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) options: Value,
}

/// Values by absolute name. Never shown in `Debug`.
pub(crate) struct Variables {
    director: String,
    kept: BTreeMap<String, Kept>,
    used: BTreeMap<String, BTreeSet<String>>,
}

struct Kept {
    id: String,
    value: Value,
    /// Its inputs: type, options, and the id of the certificate that signed it.
    made_of: (String, Value, Option<String>),
    certificate: Option<Made>,
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.kept.keys()).finish()
    }
}

impl Variables {
    pub(super) fn new(director: &str) -> Self {
        Self { director: director.to_owned(), kept: BTreeMap::new(), used: BTreeMap::new() }
    }

    /// Generates the value of a variable, unless it exists.
    ///
    /// # Errors
    /// When the name, the type or an option is not valid.
    pub(crate) fn generate(&mut self, deployment: &str, spec: &VariableSpec) -> Result<(), DirectorError> {
        check_name("Variable", &spec.name)?;
        let name = self.absolute(deployment, &spec.name);
        let refused = |why: String| {
            let text = format!(
                "Config Server failed to generate value for '{name}' with type '{}'. HTTP Code '400', Error: '{why}'",
                spec.kind
            );
            DirectorError::new(400, CANNOT_GENERATE, text)
        };
        let options = match &spec.options {
            Value::Null => Value::Object(Map::new()),
            options => options.clone(),
        };
        let mut certificate = None;
        let mut signer = None;
        if spec.kind == "certificate" {
            let read: Options = serde_json::from_value(options.clone()).map_err(|error| refused(error.to_string()))?;
            signer = read.ca.as_deref().map(|ca| self.absolute(deployment, ca));
            certificate = Some(read);
        }
        let ca = match &signer {
            None => None,
            Some(signer) => match self.kept.get(signer) {
                Some(Kept { certificate: Some(ca), id, .. }) => Some((ca, id.clone())),
                _ => return Err(refused(format!("The certificate '{signer}' that is to sign it is not there"))),
            },
        };
        let made_of = (spec.kind.clone(), options, ca.as_ref().map(|(_, id)| id.clone()));
        if self.kept.get(&name).is_none_or(|kept| kept.made_of != made_of) {
            let ca = ca.map(|(ca, _)| ca);
            let made = certificate.map(|options| certificate::make(&options, ca)).transpose().map_err(refused)?;
            let value = match &made {
                Some(made) => made.value(ca),
                None => plain_value(&spec.kind, &made_of.1).map_err(refused)?,
            };
            let id = Uuid::new_v4().to_string();
            self.kept.insert(name.clone(), Kept { id, value, made_of, certificate: made });
        }
        self.used.entry(deployment.to_owned()).or_default().insert(name);
        Ok(())
    }

    /// The value of a placeholder, given without its brackets, such as `/mesh/ca.certificate`.
    ///
    /// # Errors
    /// When the name is not valid or there is no such value, as a text.
    pub(crate) fn value(&mut self, deployment: &str, placeholder: &str) -> Result<Value, String> {
        let placeholder = placeholder.strip_prefix('!').unwrap_or(placeholder);
        check_name("Placeholder", placeholder).map_err(|error| error.description)?;
        let absolute = self.absolute(deployment, placeholder);
        let mut keys = absolute.split('.');
        let root = keys.next().unwrap_or_default();
        let kept = self.kept.get(root).ok_or_else(|| {
            format!(
                "Failed to find variable '{root}' from config server: HTTP Code '404', Error: 'The request could not be \
                 completed because the credential does not exist or you do not have sufficient authorization.'"
            )
        })?;
        let mut value = &kept.value;
        let mut path = root.to_owned();
        for key in keys {
            value = match value {
                Value::Object(map) => map.get(key).ok_or_else(|| {
                    format!("Failed to fetch variable '{absolute}' from config server: Expected parent '{path}' hash to have key '{key}'")
                })?,
                _ => return Err(format!("Failed to fetch variable '{absolute}' from config server: Expected parent '{path}' to be a hash")),
            };
            path = format!("{path}.{key}");
        }
        let value = value.clone();
        self.used.entry(deployment.to_owned()).or_default().insert(root.to_owned());
        Ok(value)
    }

    /// Whether a placeholder, given without its brackets, has a value.
    pub(crate) fn has(&self, deployment: &str, placeholder: &str) -> bool {
        let absolute = self.absolute(deployment, placeholder.strip_prefix('!').unwrap_or(placeholder));
        absolute.split('.').next().is_some_and(|root| self.kept.contains_key(root))
    }

    /// `GET /deployments/:name/variables`.
    pub(crate) fn rows(&self, deployment: &str) -> Value {
        let names = self.used.get(deployment).into_iter().flatten();
        let rows = names.filter_map(|name| Some(json!({"id": self.kept.get(name)?.id, "name": name})));
        Value::Array(rows.collect())
    }

    /// A deployment was deleted; its values stay, as in a config server.
    pub(crate) fn forget_deployment(&mut self, deployment: &str) {
        self.used.remove(deployment);
    }

    fn absolute(&self, deployment: &str, name: &str) -> String {
        if name.starts_with('/') { name.to_owned() } else { format!("/{}/{deployment}/{name}", self.director) }
    }
}

fn plain_value(kind: &str, options: &Value) -> Result<Value, String> {
    let length = options.get("length").and_then(Value::as_u64).and_then(|length| usize::try_from(length).ok());
    let length = length.unwrap_or(PASSWORD_LENGTH).clamp(4, 200);
    let password = || rand::rng().sample_iter(Alphanumeric).take(length).map(char::from).collect::<String>();
    match kind {
        "password" => Ok(Value::String(password())),
        "user" => {
            let name = options.get("username").and_then(Value::as_str).map_or_else(password, str::to_owned);
            Ok(json!({"username": name, "password": password()}))
        }
        _ => Err("this director makes no values of this type".to_owned()),
    }
}

fn check_name(kind: &str, name: &str) -> Result<(), DirectorError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/');
    let why = if name.is_empty() || !name.bytes().all(is_allowed) {
        "must only contain alphanumeric, underscores, dashes, or forward slash characters"
    } else if name.ends_with('/') {
        "must not end with a forward slash"
    } else if name.contains("//") {
        "must not contain two consecutive forward slashes"
    } else {
        return Ok(());
    };
    Err(DirectorError::new(400, BAD_NAME, format!("{kind} name '{name}' {why}")))
}

#[cfg(test)]
#[path = "variables_tests.rs"]
mod tests;
