//! A manifest's text to what the mesh reads of it.
//!
//! The director checks only the keys it knows and keeps the rest, so unknown keys are passed over here as well. What stands under
//! `expose_ports` was never checked by anybody: it is kept as written, whatever its shape, and judged in `boshy-mesh`, where
//! a wrong entry is named by group, job and key instead of by line.

use std::fmt;

use boshy_mesh::{Written, WrittenDeployment, WrittenGroup, WrittenJob, WrittenPort, WrittenPortEntry, WrittenPorts};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::yaml::{self, Limits, YamlError};

/// Reads the manifest of the deployment that the director lists as `name`.
///
/// # Errors
/// When the text is no YAML, too large, or so unlike a manifest that the director cannot have accepted it.
pub fn read(name: &str, text: &str, limits: &Limits) -> Result<WrittenDeployment, YamlError> {
    let manifest: Manifest = yaml::from_text(text, limits)?;
    let groups = manifest.instance_groups.unwrap_or_default().into_iter().map(Group::written).collect();
    Ok(WrittenDeployment { name: name.to_owned(), groups })
}

#[derive(Deserialize)]
struct Manifest {
    instance_groups: Option<Vec<Group>>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
    lifecycle: Option<String>,
    jobs: Option<Vec<Job>>,
}

#[derive(Deserialize)]
struct Job {
    name: String,
    #[serde(default)]
    expose_ports: AnyPorts,
}

impl Group {
    fn written(self) -> WrittenGroup {
        WrittenGroup {
            name: self.name,
            errand: self.lifecycle.as_deref() == Some("errand"),
            jobs: self.jobs.unwrap_or_default().into_iter().map(Job::written).collect(),
            ..WrittenGroup::default()
        }
    }
}

impl Job {
    fn written(self) -> WrittenJob {
        WrittenJob { name: self.name, expose_ports: self.expose_ports.0 }
    }
}

#[derive(Default)]
struct AnyPorts(WrittenPorts);
struct AnyEntry(WrittenPortEntry);
struct AnyScalar(Written);

/// What a node of any kind becomes. Kinds that are not said to be wanted become `other` by their name.
trait FromAny<'de>: Sized {
    const WANTED: &'static str;
    fn other(kind: &'static str) -> Self;
    fn null() -> Self {
        Self::other("null")
    }
    fn text(_: String) -> Self {
        Self::other("text")
    }
    fn integer(_: i64) -> Self {
        Self::other("a number")
    }
    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::other("a list"))
    }
    fn map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::other("a map"))
    }
}

impl<'de> FromAny<'de> for AnyPorts {
    const WANTED: &'static str = "a list of ports";
    fn other(kind: &'static str) -> Self {
        Self(WrittenPorts::Other(kind))
    }
    fn null() -> Self {
        Self(WrittenPorts::Absent)
    }
    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut entries = Vec::new();
        while let Some(AnyEntry(entry)) = list.next_element()? {
            entries.push(entry);
        }
        Ok(Self(WrittenPorts::List(entries)))
    }
}

impl<'de> FromAny<'de> for AnyEntry {
    const WANTED: &'static str = "a port";
    fn other(kind: &'static str) -> Self {
        Self(WrittenPortEntry::Other(kind))
    }
    fn map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut port = WrittenPort::default();
        while let Some(key) = map.next_key::<String>()? {
            let AnyScalar(value) = map.next_value()?;
            match key.as_str() {
                "name" => port.name = value,
                "number" => port.number = value,
                "protocol" => port.protocol = value,
                _ => port.unknown.push(key),
            }
        }
        Ok(Self(WrittenPortEntry::Port(port)))
    }
}

impl FromAny<'_> for AnyScalar {
    const WANTED: &'static str = "a scalar";
    fn other(kind: &'static str) -> Self {
        Self(Written::Other(kind))
    }
    fn null() -> Self {
        Self(Written::Absent)
    }
    fn text(text: String) -> Self {
        Self(Written::Text(text))
    }
    fn integer(number: i64) -> Self {
        Self(Written::Integer(number))
    }
}

struct AnyVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: FromAny<'de>> Visitor<'de> for AnyVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::WANTED)
    }
    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::null())
    }
    fn visit_none<E>(self) -> Result<T, E> {
        Ok(T::null())
    }
    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok(T::other("a boolean"))
    }
    fn visit_i64<E>(self, number: i64) -> Result<T, E> {
        Ok(T::integer(number))
    }
    fn visit_u64<E>(self, number: u64) -> Result<T, E> {
        Ok(i64::try_from(number).map_or_else(|_| T::other("a number beyond 64 bits"), T::integer))
    }
    fn visit_i128<E>(self, _: i128) -> Result<T, E> {
        Ok(T::other("a number beyond 64 bits"))
    }
    fn visit_u128<E>(self, _: u128) -> Result<T, E> {
        Ok(T::other("a number beyond 64 bits"))
    }
    fn visit_f64<E>(self, _: f64) -> Result<T, E> {
        Ok(T::other("a float"))
    }
    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::text(text.to_owned()))
    }
    fn visit_string<E>(self, text: String) -> Result<T, E> {
        Ok(T::text(text))
    }
    fn visit_bytes<E>(self, _: &[u8]) -> Result<T, E> {
        Ok(T::other("binary data"))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        T::list(list)
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::map(map)
    }
}

macro_rules! deserialize_any_kind {
    ($($kind:ty),+) => {$(
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(node: D) -> Result<Self, D::Error> {
                node.deserialize_any(AnyVisitor(std::marker::PhantomData))
            }
        }
    )+};
}
deserialize_any_kind!(AnyPorts, AnyEntry, AnyScalar);

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
