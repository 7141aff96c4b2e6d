//! Errors of jobs, gathered for one answer.

use crate::DirectorError;

/// In the order of insertion.
type Named<T> = Vec<(String, T)>;

/// Errors of jobs by instance group, in a director's format.
#[derive(Default)]
pub(super) struct JobErrors {
    groups: Named<Named<Vec<String>>>,
}

impl JobErrors {
    /// Adds errors of a job, without duplicates.
    pub(super) fn add(&mut self, group: &str, job: &str, texts: Vec<String>) {
        let jobs = entry(&mut self.groups, group);
        let known = entry(jobs, job);
        for text in texts {
            if !known.contains(&text) {
                known.push(text);
            }
        }
    }

    pub(super) fn into_result(self) -> Result<(), DirectorError> {
        if self.groups.is_empty() {
            return Ok(());
        }
        let mut text = "Unable to render instance groups for deployment. Errors are:".to_owned();
        for (group, jobs) in self.groups {
            text += &format!("\n  - Unable to render jobs for instance group '{group}'. Errors are:");
            for (job, errors) in jobs {
                text += &format!("\n    - Unable to render templates for job '{job}'. Errors are:");
                for error in errors {
                    text += &format!("\n      - {}", error.trim().replace('\n', "\n        "));
                }
            }
        }
        Err(DirectorError::new(500, 100, text))
    }
}

fn entry<'a, T: Default>(list: &'a mut Named<T>, key: &str) -> &'a mut T {
    let position = list.iter().position(|(name, _)| name == key).unwrap_or_else(|| {
        list.push((key.to_owned(), T::default()));
        list.len() - 1
    });
    &mut list[position].1
}
