//! Follows a task of the director to its end.

use std::time::Duration;

use boshy_director::client::{DirectorClient, StepState, TaskId, TaskStatus, TaskStep};

use crate::error::LabError;

/// Prints progress.
pub(crate) type Say<'a> = &'a mut dyn FnMut(&str);

/// Interval at which the task is polled.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Reports each step that has begun or failed.
pub(super) async fn follow(
    client: &DirectorClient,
    task: TaskId,
    operation: &str,
    say: Say<'_>,
) -> Result<(), LabError> {
    let mut from = 0;
    loop {
        // Queried before the steps, so that at the end of the task no step is missed.
        let status = client.task(task).await?;
        let read = client.task_steps(task, from).await?;
        from = read.next;
        read.steps.iter().filter_map(words).for_each(|text| say(&text));
        match status {
            TaskStatus::UnderWay => tokio::time::sleep(LOOK_PAUSE).await,
            TaskStatus::Done => return Ok(()),
            TaskStatus::Failed { state, result } => {
                return Err(LabError::Refused(format!("{operation}: the director's task is {state}: {result}")));
            }
        }
    }
}

/// The line for a step; `None` for a step that is not reported.
fn words(step: &TaskStep) -> Option<String> {
    let TaskStep { stage, name, state } = step;
    match state {
        StepState::Started => Some(format!("{stage}: {name}")),
        StepState::Failed(why) => Some(format!("{stage}: {name}: {}", why.as_deref().unwrap_or("failed"))),
        StepState::InProgress | StepState::Finished => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_and_what_fails_is_said() {
        let said = |state: StepState| {
            words(&TaskStep { stage: "Updating instance".to_owned(), name: "web/1 (canary)".to_owned(), state })
        };
        assert_eq!(said(StepState::Started).unwrap(), "Updating instance: web/1 (canary)");
        assert_eq!(said(StepState::Failed(Some("no".to_owned()))).unwrap(), "Updating instance: web/1 (canary): no");
        assert_eq!(said(StepState::Failed(None)).unwrap(), "Updating instance: web/1 (canary): failed");
        assert_eq!([said(StepState::InProgress), said(StepState::Finished)], [None, None]);
    }
}
