//! The director's answers on the wire.
//!
//! Unknown keys are ignored, because every director version adds some. Content types are ignored, because most JSON of
//! a director is declared as `text/html`. The types are serialised as well as parsed, so that the embedded director
//! stays consistent with what the client parses. A recorded answer of a real director must give the same JSON when it
//! is parsed and serialised.

mod config;
mod deployment;
mod event;
mod info;
mod instance;
mod link;
mod release;
mod task;
mod time;
mod token;

pub use config::{Config, ConfigConflict, ConfigDiff, ConfigId, ConfigPost, ConfigVersion, DeploymentConfig, DiffLine};
pub use deployment::{DeploymentRow, ManifestBody, ManifestDiff, NameVersion};
pub use event::Event;
pub use info::{AuthOptions, Feature, Features, Info, UserAuthentication};
pub use instance::{FullRow, InstanceRow, JobInstance, Process, ReadInstances, StemcellOf, VmRow};
pub(crate) use link::of_jobs;
pub use link::{Link, LinkConsumer, LinkDefinition, LinkOwner, LinkOwnerInfo, LinkProvider};
pub use release::{ReleaseRow, ReleaseVersion};
pub use task::{EndedTask, ErrorBody, Lock, Task, TaskError, TaskEvent, TaskState};
pub use token::Token;

#[cfg(test)]
mod tests;
