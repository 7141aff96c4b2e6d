//! The director's answers, as they are on the wire.
//!
//! Unknown keys are passed over, because every director version adds some. Content types are not looked at: most JSON of a director
//! comes as `text/html`. The types are written as well as read, so that the embedded director cannot drift from what the
//! client reads; a recorded answer of a real director read and written again must be the same JSON.

mod config;
mod deployment;
mod event;
mod info;
mod instance;
mod release;
mod task;
mod time;
mod token;

pub use config::{Config, ConfigConflict, ConfigDiff, ConfigId, ConfigPost, ConfigVersion, DeploymentConfig, DiffLine};
pub use deployment::{DeploymentRow, ManifestBody, ManifestDiff, NameVersion};
pub use event::Event;
pub use info::{AuthOptions, Feature, Features, Info, UserAuthentication};
pub use instance::{FullRow, InstanceRow, JobInstance, Process, ReadInstances, StemcellOf, VmRow};
pub use release::{ReleaseRow, ReleaseVersion};
pub use task::{EndedTask, ErrorBody, Lock, Task, TaskError, TaskEvent, TaskState};
pub use token::Token;

#[cfg(test)]
mod tests;
