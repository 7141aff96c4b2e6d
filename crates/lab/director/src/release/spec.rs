//! A job of a release: its specification, as written and as checked, and its templates.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::ReleaseError;
use boshy_yaml::Limits;

/// The director's error codes about jobs.
const MISSING_TEMPLATE: u32 = 80_002;
const MISSING_MONIT: u32 = 80_004;
const BAD_PROPERTIES: u32 = 80_008;
const BAD_LINK: u32 = 80_013;
const DUPLICATE_LINK: u32 = 80_014;
const BAD_MANIFEST: u32 = 80_001;

/// Specification of a job (`job.MF`, or `spec` in a release's folder).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobSpec {
    /// Name.
    pub name: String,
    /// Source below `templates`, and destination below the job's folder.
    pub templates: Vec<(String, String)>,
    /// Names of the packages it needs.
    pub packages: Vec<String>,
    /// Properties it may read, by their dotted name.
    pub properties: Vec<(String, Property)>,
    /// Links it provides.
    pub provides: Vec<Provided>,
    /// Links it consumes.
    pub consumes: Vec<Consumed>,
}

/// A property.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Property {
    /// Description of the property.
    pub description: String,
    /// Default; `null` means none.
    pub default: Value,
    /// An example; not used.
    pub example: Value,
    /// Type of the value that a config server generates.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

/// A provided link.
#[derive(Clone, Debug, PartialEq)]
pub struct Provided {
    /// Name.
    pub name: String,
    /// Type.
    pub kind: String,
    /// Properties that it exports.
    pub properties: Vec<String>,
}

/// A consumed link.
#[derive(Clone, Debug, PartialEq)]
pub struct Consumed {
    /// Name.
    pub name: String,
    /// Type.
    pub kind: String,
    /// Whether the link may be missing.
    pub optional: bool,
}

/// A job with its templates.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Job {
    /// Its specification.
    pub spec: JobSpec,
    /// Template of its monit file.
    pub monit: String,
    /// Templates by source.
    pub templates: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct RawSpec {
    name: String,
    #[serde(default)]
    templates: Option<Map<String, Value>>,
    #[serde(default)]
    packages: Option<Vec<String>>,
    #[serde(default)]
    properties: Value,
    #[serde(default)]
    provides: Value,
    #[serde(default)]
    consumes: Value,
}

impl JobSpec {
    /// Parses a specification.
    ///
    /// # Errors
    /// When it is not YAML or a director would refuse it.
    pub fn parse(job: &str, text: &str) -> Result<Self, ReleaseError> {
        let raw: RawSpec = boshy_yaml::from_text(text, &Limits::default())
            .map_err(|error| ReleaseError::refused(BAD_MANIFEST, format!("Job '{job}' has a bad manifest: {error}")))?;
        raw.check(job)
    }
}

impl RawSpec {
    fn check(self, job: &str) -> Result<JobSpec, ReleaseError> {
        if self.name != job {
            let text = format!("Inconsistent name for job '{job}'(exptected: '{job}', got: '{}')", self.name);
            return Err(ReleaseError::refused(BAD_MANIFEST, text));
        }
        let templates = self.templates.unwrap_or_default().into_iter();
        let templates = templates.map(|(source, to)| {
            let to = to.as_str().unwrap_or_default().to_owned();
            for path in [&source, &to] {
                if super::inner_path::inner_path(Path::new(path)).is_none_or(|inner| inner.as_os_str().is_empty()) {
                    let text = format!("Job '{job}' has the invalid template path '{path}'");
                    return Err(ReleaseError::refused(BAD_MANIFEST, text));
                }
            }
            Ok((source, to))
        });
        Ok(JobSpec {
            templates: templates.collect::<Result<_, _>>()?,
            packages: self.packages.unwrap_or_default(),
            properties: properties(job, self.properties)?,
            provides: provides(job, &self.provides)?,
            consumes: consumes(job, &self.consumes)?,
            name: self.name,
        })
    }
}

fn properties(job: &str, written: Value) -> Result<Vec<(String, Property)>, ReleaseError> {
    let bad = || ReleaseError::refused(BAD_PROPERTIES, format!("Job '{job}' has invalid properties spec format"));
    match written {
        Value::Null => Ok(Vec::new()),
        Value::Object(map) => {
            let read = |(name, value): (String, Value)| match value {
                Value::Null => Ok((name, Property::default())),
                value => serde_json::from_value(value).map(|property| (name, property)).map_err(|_| bad()),
            };
            map.into_iter().map(read).collect()
        }
        _ => Err(bad()),
    }
}

fn provides(job: &str, written: &Value) -> Result<Vec<Provided>, ReleaseError> {
    let read = |name: String, kind: String, entry: &Map<String, Value>| {
        if entry.contains_key("optional") {
            let text = format!("Link '{name}' of type '{kind}' is a provides link, not allowed to have 'optional' key");
            return Err(ReleaseError::refused(BAD_LINK, text));
        }
        let properties = entry.get("properties").and_then(Value::as_array).into_iter().flatten();
        let properties = properties.filter_map(Value::as_str).map(str::to_owned).collect();
        Ok(Provided { name, kind, properties })
    };
    links(job, "provides", written, read, |link| &link.name)
}

fn consumes(job: &str, written: &Value) -> Result<Vec<Consumed>, ReleaseError> {
    let read = |name: String, kind: String, entry: &Map<String, Value>| {
        let optional = entry.get("optional").and_then(Value::as_bool).unwrap_or(false);
        Ok(Consumed { name, kind, optional })
    };
    links(job, "consumes", written, read, |link| &link.name)
}

fn links<T>(
    job: &str,
    key: &str,
    written: &Value,
    read: impl Fn(String, String, &Map<String, Value>) -> Result<T, ReleaseError>,
    name_of: impl Fn(&T) -> &String,
) -> Result<Vec<T>, ReleaseError> {
    let bad = |text: String| ReleaseError::refused(BAD_LINK, text);
    let entries = match written {
        Value::Null => return Ok(Vec::new()),
        Value::Array(entries) => entries,
        _ => {
            let text =
                format!("Job '{job}' has invalid spec format: '{key}' must be an array of hashes with name and type");
            return Err(bad(text));
        }
    };
    let mut links: Vec<T> = Vec::new();
    for entry in entries {
        let Value::Object(entry) = entry else {
            let section = if key == "provides" { "Provides" } else { "Consumes" };
            return Err(bad(format!("{section} section in the release spec must be a list of hashes")));
        };
        let (Some(name), Some(kind)) =
            (entry.get("name").and_then(Value::as_str), entry.get("type").and_then(Value::as_str))
        else {
            let text =
                format!("Each {key} item in the {key} section of the release spec must contain 'name' and 'type'");
            return Err(bad(text));
        };
        let link = read(name.to_owned(), kind.to_owned(), entry)?;
        if links.iter().any(|known| name_of(known) == name) {
            let text = format!("Job '{job}' specifies duplicate {key} link with name '{name}'");
            return Err(ReleaseError::refused(DUPLICATE_LINK, text));
        }
        links.push(link);
    }
    Ok(links)
}

impl Job {
    /// Assembles a job from its files.
    ///
    /// # Errors
    /// When its monit file or a template that it names is missing or not UTF-8.
    pub(super) fn assemble(spec: JobSpec, files: &BTreeMap<String, Vec<u8>>) -> Result<Self, ReleaseError> {
        let name = &spec.name;
        let text = |path: &str, bytes: &[u8]| {
            let refuse =
                |_| ReleaseError::refused(MISSING_TEMPLATE, format!("File '{path}' of job '{name}' is no text"));
            String::from_utf8(bytes.to_vec()).map_err(refuse)
        };
        let monit = files
            .get("monit")
            .ok_or_else(|| ReleaseError::refused(MISSING_MONIT, format!("Job '{name}' is missing monit file")))?;
        let monit = text("monit", monit)?;
        let mut templates = BTreeMap::new();
        for (source, _) in &spec.templates {
            let bytes = files.get(&format!("templates/{source}")).ok_or_else(|| {
                let text = format!("Missing template file '{source}' for job '{name}'");
                ReleaseError::refused(MISSING_TEMPLATE, text)
            })?;
            templates.insert(source.clone(), text(source, bytes)?);
        }
        Ok(Self { spec, monit, templates })
    }
}

/// Reads a job of a release that is not built yet: `jobs/NAME` with `spec`, `monit` and `templates`.
///
/// # Errors
/// When a file is missing or a director would refuse the job.
pub fn job_from_folder(folder: &Path) -> Result<Job, ReleaseError> {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let spec_path = folder.join("spec");
    let spec = JobSpec::parse(&name, &fs::read_to_string(&spec_path).map_err(ReleaseError::file(spec_path))?)?;
    let mut files = BTreeMap::new();
    let wanted = spec.templates.iter().map(|(source, _)| format!("templates/{source}"));
    for inner in wanted.chain(["monit".to_owned()]) {
        match fs::read(folder.join(&inner)) {
            Ok(bytes) => {
                files.insert(inner, bytes);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(ReleaseError::file(folder.join(inner))(error)),
        }
    }
    Job::assemble(spec, &files)
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
