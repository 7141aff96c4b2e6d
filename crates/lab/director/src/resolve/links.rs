//! Links: the providers, the consumers, and the provider of each consumer.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{
    link::{Consumer, Links, Provider, ProviderAt, Target, Wish},
    resolved::Resolved,
    written::Job as WrittenJob,
};
use crate::{
    DirectorError,
    release::{JobSpec, Provided},
};

/// A job in its group and deployment.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) deployment: &'a str,
    pub(super) group: &'a str,
    pub(super) release: &'a str,
}

impl Links {
    /// Adds the links of a job. `properties` are its own, with variables replaced.
    pub(super) fn add(
        &mut self,
        at: At<'_>,
        spec: &JobSpec,
        written: &WrittenJob,
        properties: &Value,
        exists: &dyn Fn(&str) -> bool,
    ) -> Result<(), DirectorError> {
        let mut errors = Vec::new();
        let custom = custom_providers(at, spec, written, &mut errors);
        for provided in custom.iter().chain(&spec.provides) {
            match provider(at, spec, provided, written.provides.get(&provided.name), properties) {
                Ok(provider) => self.providers.push(provider),
                Err(found) => errors.extend(found),
            }
        }
        for consumed in &spec.consumes {
            let source = written.consumes.get(&consumed.name);
            match wish(at, &spec.name, &consumed.name, source, exists) {
                Ok((name, wish)) => self.consumers.push(Consumer {
                    group: at.group.to_owned(),
                    job: spec.name.clone(),
                    original: consumed.name.clone(),
                    name,
                    kind: consumed.kind.clone(),
                    optional: consumed.optional,
                    wish,
                    target: None,
                }),
                Err(found) => errors.extend(found),
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(DirectorError::new(500, 100, errors.join("\n"))) }
    }

    /// Determines the provider of every consumer.
    pub(super) fn connect(
        &mut self,
        deployment: &str,
        others: &dyn Fn(&str) -> Option<Arc<Resolved>>,
    ) -> Result<(), DirectorError> {
        let mut errors = Vec::new();
        let mut targets = Vec::new();
        for consumer in &self.consumers {
            let target = self.target(consumer, deployment, others).unwrap_or_else(|text| {
                errors.push(text);
                None
            });
            targets.push(target);
        }
        if !errors.is_empty() {
            let errors = errors.join("\n  - ");
            let text =
                format!("Failed to resolve links from deployment '{deployment}'. See errors below:\n  - {errors}");
            return Err(DirectorError::new(500, 100, text));
        }
        self.consumers.iter_mut().zip(targets).for_each(|(consumer, target)| consumer.target = target);
        Ok(())
    }

    fn target(
        &self,
        consumer: &Consumer,
        own: &str,
        others: &dyn Fn(&str) -> Option<Arc<Resolved>>,
    ) -> Result<Option<Target>, String> {
        let of_type = |provider: &&Provider| provider.kind == consumer.kind && provider.consumable;
        let (deployment, network, ip_addresses) = match &consumer.wish {
            Wish::Manual(link) => return Ok(Some(Target::Manual(link.clone()))),
            Wish::Any => (own, None, None),
            Wish::Blocked if consumer.optional => return Ok(None),
            Wish::Blocked => return Err(link_error(consumer, own, &[])),
            Wish::Named { deployment, network, ip_addresses } => {
                (deployment.as_deref().unwrap_or(own), network.clone(), *ip_addresses)
            }
        };
        let elsewhere = if deployment == own { None } else { others(deployment) };
        let links = elsewhere.as_ref().map_or(self, |other| &other.links);
        let named = |provider: &&Provider| match consumer.wish {
            Wish::Named { .. } => provider.name == consumer.name && (deployment == own || provider.shared),
            _ => true,
        };
        let found: Vec<&Provider> = links.providers.iter().filter(of_type).filter(named).collect();
        match found.as_slice() {
            [] if consumer.optional && matches!(consumer.wish, Wish::Any) => Ok(None),
            [one] => {
                let at = ProviderAt {
                    deployment: deployment.to_owned(),
                    group: one.group.clone(),
                    job: one.job.clone(),
                    original: one.original.clone(),
                };
                Ok(Some(Target::Provider { at, network, ip_addresses }))
            }
            found => Err(link_error(consumer, deployment, found)),
        }
    }
}

fn link_error(consumer: &Consumer, deployment: &str, found: &[&Provider]) -> String {
    let Consumer { original, name, kind, job, group, .. } = consumer;
    let alias = if original == name { String::new() } else { format!("alias '{name}' and ") };
    let mut text = format!(
        "Failed to resolve link '{original}' with {alias}type '{kind}' from job '{job}' in instance group '{group}'. \
         Details below:"
    );
    if found.is_empty() {
        text += "\n    - No link providers found";
    }
    for Provider { original, name, job, group, .. } in found {
        let alias = if original == name { String::new() } else { format!("with alias '{name}' ") };
        text += &format!(
            "\n    - Link provider '{original}' {alias}from job '{job}' in instance group '{group}' in deployment \
             '{deployment}'"
        );
    }
    text
}

fn custom_providers(at: At<'_>, spec: &JobSpec, written: &WrittenJob, errors: &mut Vec<String>) -> Vec<Provided> {
    let place = format!("in job '{}' in instance group '{}'", spec.name, at.group);
    let mut custom: Vec<Provided> = Vec::new();
    for definition in &written.custom_provider_definitions {
        let text = |key: &str| definition.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        for (key, title) in [("name", "Name"), ("type", "Type")] {
            if text(key).is_none() {
                errors.push(format!(
                    "{title} for custom link provider definition in manifest {place} must be a valid non-empty string."
                ));
            }
        }
        let (Some(name), Some(kind)) = (text("name"), text("type")) else { continue };
        if spec.provides.iter().any(|provided| provided.name == name) {
            errors.push(format!("Custom provider '{name}' {place} is already defined in release '{}'", at.release));
        }
        if custom.iter().any(|provided| provided.name == name) {
            errors.push(format!("Custom provider '{name}' {place} is defined multiple times in manifest."));
        }
        let properties = definition.get("properties").and_then(Value::as_array).into_iter().flatten();
        let properties = properties.filter_map(Value::as_str).map(str::to_owned).collect();
        custom.push(Provided { name: name.to_owned(), kind: kind.to_owned(), properties });
    }
    custom
}

fn provider(
    at: At<'_>,
    spec: &JobSpec,
    provided: &Provided,
    source: Option<&Value>,
    properties: &Value,
) -> Result<Provider, Vec<String>> {
    let place = format!("in job '{}' in instance group '{}'", spec.name, at.group);
    let link = &provided.name;
    let empty = Map::new();
    let source = match source {
        None => Some(&empty),
        Some(Value::String(text)) if text == "nil" => None,
        Some(Value::Object(map)) if map.contains_key("name") || map.contains_key("type") => {
            return Err(vec![fixed_names(link, &place)]);
        }
        Some(Value::Object(map)) => Some(map),
        Some(_) => {
            let text =
                format!("Provider '{link}' {place} specified in the manifest should only be a hash or string 'nil'");
            return Err(vec![text]);
        }
    };
    let get = |key: &str| source.and_then(|source| source.get(key));
    let aliases = get("aliases").and_then(Value::as_array).cloned().unwrap_or_default();
    Ok(Provider {
        group: at.group.to_owned(),
        job: spec.name.clone(),
        original: link.clone(),
        name: get("as").and_then(Value::as_str).unwrap_or(link).to_owned(),
        kind: provided.kind.clone(),
        shared: get("shared") == Some(&Value::Bool(true)),
        consumable: source.is_some(),
        properties: exported(spec, &provided.properties, properties)?,
        aliases,
    })
}

fn exported(spec: &JobSpec, names: &[String], given: &Value) -> Result<Value, Vec<String>> {
    let mut exported = Value::Object(Map::new());
    let mut errors = Vec::new();
    for name in names {
        let given = crate::release::lookup(given, name).ok().flatten();
        let default = spec.properties.iter().find(|(known, _)| known == name).map(|(_, property)| &property.default);
        match given.or(default) {
            Some(value) => crate::release::set(&mut exported, name, value.clone()),
            None => {
                errors.push(format!("Link property {name} in template {} is not defined in release spec", spec.name));
            }
        }
    }
    if errors.is_empty() { Ok(exported) } else { Err(errors) }
}

fn fixed_names(link: &str, place: &str) -> String {
    format!(
        "Cannot specify 'name' or 'type' properties in the manifest for link '{link}' {place}. Please provide these keys in \
         the release only."
    )
}

/// Name of the wanted link, and the manifest's entry for it.
fn wish(
    at: At<'_>,
    job: &str,
    link: &str,
    source: Option<&Value>,
    exists: &dyn Fn(&str) -> bool,
) -> Result<(String, Wish), Vec<String>> {
    let place = format!("in job '{job}' in instance group '{}'", at.group);
    let source = match source {
        None => return Ok((link.to_owned(), Wish::Any)),
        Some(Value::String(text)) if text == "nil" => return Ok((link.to_owned(), Wish::Blocked)),
        Some(Value::Object(map)) => map,
        Some(_) => {
            let text =
                format!("Consumer '{link}' {place} specified in the manifest should only be a hash or string 'nil'");
            return Err(vec![text]);
        }
    };
    let has = |key: &str| source.contains_key(key);
    let mut errors = Vec::new();
    for key in ["instances", "properties"] {
        if has(key) && has("from") {
            errors.push(format!("Cannot specify both '{key}' and 'from' keys for link '{link}' {place}."));
        }
    }
    if has("properties") && !has("instances") {
        errors.push(format!("Cannot specify 'properties' without 'instances' for link '{link}' {place}."));
    }
    if source.get("ip_addresses").is_some_and(|value| !value.is_boolean()) {
        errors.push(format!("Cannot specify non boolean values for 'ip_addresses' field for link '{link}' {place}."));
    }
    if has("name") || has("type") {
        errors.push(fixed_names(link, &place));
    }
    let text = |key: &str| source.get(key).and_then(Value::as_str).map(str::to_owned);
    let name = text("from").unwrap_or_else(|| link.to_owned());
    let deployment = text("deployment");
    if let Some(deployment) = deployment.as_deref().filter(|name| *name != at.deployment && !exists(name)) {
        errors.push(format!(
            "Link '{name}' in job '{job}' from instance group '{}' consumes from deployment '{deployment}', but the \
             deployment does not exist.",
            at.group
        ));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    if ["instances", "properties", "address"].iter().any(|key| has(key)) {
        return Ok((link.to_owned(), Wish::Manual(source.clone())));
    }
    let ip_addresses = source.get("ip_addresses").and_then(Value::as_bool);
    // The director uses only the part after the last dot.
    let name = name.rsplit('.').next().unwrap_or_default().to_owned();
    Ok((name, Wish::Named { deployment, network: text("network"), ip_addresses }))
}

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;
