//! Renders templates of jobs with Ruby's ERB, in a context like a director's.
//!
//! One process renders all jobs of a deploy, because starting Ruby takes longer than most templates. A template is a
//! program written by the author of the release and can do whatever this process can; the same holds for a director. It
//! is killed when it takes too long.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::Ipv4Addr,
    path::PathBuf,
    process::{Command, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Job, JobSpec};
use crate::{RenderedFile, RenderedJob};

const SCRIPT: &str = include_str!("render.rb");

/// Context of a job's templates.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Deployment.
    pub deployment: String,
    /// Instance group.
    pub group: String,
    /// Index in the group.
    pub index: u32,
    /// Uuid of the instance.
    pub id: String,
    /// Availability zone.
    pub az: Option<String>,
    /// Whether it is the first of its group.
    pub bootstrap: bool,
    /// Name or address at which others reach the instance.
    pub address: String,
    /// Addresses by network, the default network first.
    pub networks: Vec<(String, Ipv4Addr)>,
    /// Keys of a template's `spec` that differ from the other fields: networks that are not manual, addresses that are
    /// not IPv4.
    pub otherwise: Map<String, Value>,
    /// Size of the persistent disk, MB.
    pub persistent_disk: u64,
    /// The job's release: name and version.
    pub release: (String, String),
    /// Properties of the job in the manifest. Those that the job's specification does not name are hidden.
    pub properties: Value,
    /// Links by the name that the job uses for them.
    pub links: BTreeMap<String, Link>,
}

/// A link as a template sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Link {
    /// Deployment of the provider.
    pub deployment_name: String,
    /// Domain of DNS names, without a leading dot. `None` for a manual link.
    pub domain: Option<String>,
    /// Network of its name.
    pub default_network: String,
    /// Instance group of the provider.
    pub instance_group: String,
    /// Instances of the provider. `None` for a manual link without instances.
    pub instances: Option<Vec<LinkInstance>>,
    /// Properties that the provider exports.
    pub properties: Value,
    /// Address of a manual link.
    pub address: Option<String>,
    /// Numbers of availability zones in DNS names.
    pub az_ids: BTreeMap<String, u32>,
}

/// An instance of a link.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LinkInstance {
    /// Instance group.
    pub name: String,
    /// Uuid.
    pub id: String,
    /// Index.
    pub index: u32,
    /// Whether it is the first of its group.
    pub bootstrap: bool,
    /// Availability zone.
    pub az: Option<String>,
    /// Name or address.
    pub address: String,
}

/// A job to be rendered for an instance.
#[derive(Clone, Copy, Debug)]
pub struct Rendering<'a> {
    /// The job.
    pub job: &'a Job,
    /// Context of its templates.
    pub context: &'a Context,
}

/// Errors of running Ruby. Errors of templates are not included.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// It could not be run.
    #[error("cannot run {program}")]
    Run {
        /// Path of the program.
        program: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// It ended without output.
    #[error("{program} gave no answer: {said}")]
    NoAnswer {
        /// Path of the program.
        program: PathBuf,
        /// The end of its standard error.
        said: String,
    },
    /// It took too long.
    #[error("templates took longer than {0:?}")]
    TooSlow(Duration),
}

/// Renders jobs.
#[derive(Clone, Debug)]
pub struct Renderer {
    /// Ruby 2.7 or later.
    pub ruby: PathBuf,
    /// Time for all templates of one call.
    pub patience: Duration,
}

impl Default for Renderer {
    fn default() -> Self {
        Self { ruby: PathBuf::from("ruby"), patience: Duration::from_secs(60) }
    }
}

#[derive(Deserialize)]
struct Answer {
    jobs: Vec<JobAnswer>,
}

#[derive(Deserialize)]
struct JobAnswer {
    outputs: Vec<Option<String>>,
    errors: Vec<String>,
}

impl Renderer {
    /// Renders jobs. Returns a result for each, in order: the files, or the errors of its templates.
    ///
    /// # Errors
    /// When Ruby cannot be run or gives no output.
    pub fn render(&self, jobs: &[Rendering<'_>]) -> Result<Vec<Result<RenderedJob, Vec<String>>>, RenderError> {
        let bound: Vec<_> = jobs.iter().map(|one| bind(&one.job.spec, &one.context.properties)).collect();
        let asked: Vec<Value> = jobs
            .iter()
            .zip(&bound)
            .filter_map(|(one, bound)| bound.as_ref().ok().map(|properties| request(*one, properties)))
            .collect();
        let answer = if asked.is_empty() { Answer { jobs: Vec::new() } } else { self.ask(&json!({"jobs": asked}))? };
        if answer.jobs.len() != asked.len() {
            return Err(self.no_answer("it answered for another number of jobs"));
        }
        let mut answers = answer.jobs.into_iter();
        let outcomes = jobs.iter().zip(bound).map(|(one, bound)| match bound {
            Err(text) => Err(vec![text]),
            Ok(_) => answers.next().map_or_else(|| Err(Vec::new()), |answer| one.outcome(answer)),
        });
        Ok(outcomes.collect())
    }

    #[expect(clippy::disallowed_methods, reason = "a panic of the reader is no answer, and the others only serve it")]
    fn ask(&self, question: &Value) -> Result<Answer, RenderError> {
        let failed = |source| RenderError::Run { program: self.ruby.clone(), source };
        let mut child = Command::new(&self.ruby)
            .args(["-EUTF-8:UTF-8", "-W0", "-e", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let question = question.to_string();
        // A program that ends early closes its input; its output then explains more than the broken pipe.
        let writer = thread::spawn(move || input.map(|mut input| input.write_all(question.as_bytes())));
        let (send, receive) = channel();
        let reader = thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = output.map_or(Ok(0), |mut output| output.read_to_end(&mut bytes));
            let _ = send.send(read.map(|_| bytes));
        });
        let listener = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = errors.map(|mut errors| errors.read_to_end(&mut text));
            String::from_utf8_lossy(&text).into_owned()
        });
        let read = receive.recv_timeout(self.patience);
        if read.is_err() {
            // Its descendants may keep the pipes open, so the threads are not joined.
            child.kill().map_err(failed)?;
            child.wait().map_err(failed)?;
        }
        match read {
            Ok(bytes) => {
                child.wait().map_err(failed)?;
                let _ = (writer.join(), reader.join());
                let said = listener.join().unwrap_or_default();
                serde_json::from_slice(&bytes.map_err(failed)?).map_err(|_| self.no_answer(&said))
            }
            Err(RecvTimeoutError::Timeout) => Err(RenderError::TooSlow(self.patience)),
            Err(RecvTimeoutError::Disconnected) => Err(self.no_answer("")),
        }
    }

    fn no_answer(&self, said: &str) -> RenderError {
        let start = said.char_indices().rev().nth(2000).map_or(0, |(index, _)| index);
        let said = said.get(start..).unwrap_or_default().trim().to_owned();
        RenderError::NoAnswer { program: self.ruby.clone(), said }
    }
}

impl Rendering<'_> {
    fn outcome(&self, answer: JobAnswer) -> Result<RenderedJob, Vec<String>> {
        if !answer.errors.is_empty() {
            return Err(answer.errors);
        }
        let mut outputs = answer.outputs.into_iter().map(Option::unwrap_or_default);
        let monit = outputs.next().unwrap_or_default();
        let paths = self.job.spec.templates.iter().map(|(_, path)| path.clone());
        let files = paths.zip(outputs).map(|(path, content)| RenderedFile { path, content }).collect();
        Ok(RenderedJob { name: self.job.spec.name.clone(), release: self.context.release.0.clone(), files, monit })
    }
}

/// The monit file first, then the templates in the order of the specification.
fn request(one: Rendering<'_>, properties: &Value) -> Value {
    let texts =
        one.job.spec.templates.iter().map(
            |(source, _)| json!({"source": source, "text": one.job.templates.get(source).map_or("", String::as_str)}),
        );
    let monit = json!({"source": "monit", "text": one.job.monit});
    let templates: Vec<Value> = std::iter::once(monit).chain(texts).collect();
    let name = &one.job.spec.name;
    json!({"name": name, "context": one.context.values(name, properties), "templates": templates})
}

impl Context {
    fn values(&self, job: &str, properties: &Value) -> Value {
        let default = self.networks.first();
        let networks = self.networks.iter().enumerate().map(|(position, (name, ip))| {
            let defaults: &[&str] = if position == 0 { &["dns", "gateway"] } else { &[] };
            let record = format!("{}.{}.{name}.{}.{DOMAIN}", self.index, self.group, self.deployment);
            (name.clone(), json!({"type": "manual", "ip": ip, "default": defaults, "dns_record_name": record}))
        });
        let mut values = json!({
            "deployment": self.deployment,
            "job": {"name": job},
            "name": self.group,
            "index": self.index,
            "bootstrap": self.bootstrap,
            "id": self.id,
            "az": self.az,
            "networks": networks.collect::<Map<_, _>>(),
            "properties": properties,
            "dns_domain_name": DOMAIN,
            "links": self.links,
            "address": self.address,
            "ip": default.map(|(_, ip)| ip),
            "persistent_disk": self.persistent_disk,
            "release": {"name": self.release.0, "version": self.release.1},
        });
        for (key, value) in &self.otherwise {
            values[key] = value.clone();
        }
        values
    }
}

/// Domain of BOSH's DNS names.
pub(crate) const DOMAIN: &str = "bosh";

/// The properties visible to a job: those that it declares, with their defaults.
pub(crate) fn bind(spec: &JobSpec, given: &Value) -> Result<Value, String> {
    let mut bound = Value::Object(Map::new());
    for (name, property) in &spec.properties {
        let value = lookup(given, name)?.filter(|value| !value.is_null()).unwrap_or(&property.default);
        set(&mut bound, name, value.clone());
    }
    Ok(bound)
}

/// A property by its dotted name.
pub(crate) fn lookup<'a>(tree: &'a Value, name: &str) -> Result<Option<&'a Value>, String> {
    let mut node = tree;
    for key in name.split('.') {
        match node {
            Value::Object(map) => match map.get(key) {
                Some(inner) => node = inner,
                None => return Ok(None),
            },
            Value::Null => return Ok(None),
            other => {
                return Err(format!("Property '{name}' expects a hash, but received '{}'", class(other)));
            }
        }
    }
    Ok(Some(node))
}

/// Sets a property by its dotted name, and replaces values that are in the way.
pub(crate) fn set(tree: &mut Value, name: &str, value: Value) {
    let mut node = tree;
    for key in name.split('.') {
        if !node.is_object() {
            *node = Value::Object(Map::new());
        }
        let Value::Object(map) = node else { return };
        node = map.entry(key).or_insert(Value::Null);
    }
    *node = value;
}

/// Ruby's class name for a value.
fn class(value: &Value) -> &'static str {
    match value {
        Value::Null => "NilClass",
        Value::Bool(true) => "TrueClass",
        Value::Bool(false) => "FalseClass",
        Value::Number(number) if number.is_f64() => "Float",
        Value::Number(_) => "Integer",
        Value::String(_) => "String",
        Value::Array(_) => "Array",
        Value::Object(_) => "Hash",
    }
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
