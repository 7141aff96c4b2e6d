//! The queue of a director with VMs: tasks wait for a worker, and for the lock of their deployment.

use boshy_mesh::Timestamp;

use super::{Job, TaskId, Work, World};
use crate::DirectorError;

impl World {
    /// A task that is completed at once and reports only its outcome.
    pub(crate) fn at_once(
        &mut self,
        description: &str,
        user: &str,
        outcome: Result<(), DirectorError>,
        now: Timestamp,
    ) -> TaskId {
        let task = self.journal.queue_task(description, true, None, user);
        self.journal.start_task(task, now);
        match outcome {
            Ok(()) => self.journal.end_task(task, "", now),
            Err(error) => self.journal.fail_task(task, &error, now),
        }
        task
    }

    /// Queues a task for a worker. Without a deployment, the name is empty.
    pub(crate) fn enqueue(&mut self, deployment: &str, user: &str, work: Work) -> TaskId {
        let listed = !matches!(work, Work::Agents { .. });
        let task = self.journal.queue_task(
            &work.description(deployment),
            listed,
            Some(deployment).filter(|name| !name.is_empty()),
            user,
        );
        self.queue.push(Job { task, user: user.to_owned(), deployment: deployment.to_owned(), work });
        task
    }

    /// Takes the work queued since the last call.
    pub(crate) fn take_queue(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.queue)
    }
}
