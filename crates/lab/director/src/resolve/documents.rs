//! Parses texts to documents.

use serde_json::{Value, json};

use super::{
    inputs::Inputs,
    interpolate::{LATE_IN_MANIFEST, LATE_IN_RUNTIME_CONFIG, interpolate},
    written::{Manifest, RuntimeConfig, Stemcell, shaped},
};
use crate::{DirectorError, stores::Variables};
use boshy_director::wire::NameVersion;

/// The manifest, and all runtime configs merged into one. Variables are replaced, except for those that are resolved
/// later.
pub(super) fn documents(inputs: &mut Inputs<'_>) -> Result<(Manifest, RuntimeConfig), DirectorError> {
    let mut manifest: Value = read("manifest", inputs.manifest)?;
    let name = manifest.get("name").and_then(Value::as_str).map(str::to_owned);
    let name = name.ok_or_else(|| DirectorError::new(400, 40_001, "Deployment manifest must have a 'name' key"))?;
    replace(&mut manifest, LATE_IN_MANIFEST, inputs.variables, &name)?;
    let mut merged = RuntimeConfig::default();
    for text in inputs.runtime_configs {
        let mut config: Value = read("runtime config", text)?;
        replace(&mut config, LATE_IN_RUNTIME_CONFIG, inputs.variables, &name)?;
        let config: RuntimeConfig = shaped("runtime config", config)?;
        merged.releases.extend(config.releases);
        merged.addons.extend(config.addons);
        merged.variables.extend(config.variables);
    }
    Ok((shaped("manifest", manifest)?, merged))
}

fn read(what: &str, text: &str) -> Result<Value, DirectorError> {
    let bad = |error| DirectorError::new(400, 440_001, format!("Incorrect YAML structure of the {what}: {error}"));
    boshy_yaml::from_text(text, &boshy_yaml::Limits::default()).map_err(bad)
}

fn replace(value: &mut Value, late: &[&[&str]], variables: &mut Variables, name: &str) -> Result<(), DirectorError> {
    let mut errors = Vec::new();
    interpolate(value, late, &mut |placeholder| variables.value(name, placeholder), &mut errors);
    if errors.is_empty() {
        return Ok(());
    }
    let errors: Vec<_> = errors.into_iter().map(|text| format!("- {text}")).collect();
    Err(DirectorError::new(400, 540_001, errors.join("\n")))
}

/// Operating system of a stemcell, its name, and its actual version.
pub(super) fn check_stemcell(written: &Stemcell, inputs: &Inputs<'_>) -> Result<(String, NameVersion), DirectorError> {
    let shown = json!({"alias": written.alias, "os": written.os, "name": written.name, "version": written.version});
    match (&written.os, &written.name) {
        (None, None) => {
            let text = format!("Required property 'os' or 'name' was not specified in object ({shown})");
            return Err(DirectorError::new(400, 40_001, text));
        }
        (Some(_), Some(_)) => {
            let text = format!("Properties 'os' and 'name' are both specified for stemcell, choose one. ({shown})");
            return Err(DirectorError::new(400, 50_006, text));
        }
        _ => {}
    }
    let found = inputs.stemcells.find(written.os.as_deref(), written.name.as_deref(), &written.version)?;
    Ok((found.os.clone(), NameVersion { name: found.name.clone(), version: found.version.clone() }))
}
