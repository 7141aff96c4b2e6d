//! Tasks: the director's work after its answer.

use http::{StatusCode, header};

use super::{
    Cause, ClientError, DirectorClient,
    action::{OperatorAction, TaskId},
    answer::failed,
    exchange::Answer,
};
use crate::wire::{Task, TaskEvent, TaskState};

/// Status of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskStatus {
    /// It waits for a worker, runs, or is about to stop: `queued`, `processing` or `cancelling`.
    UnderWay,
    /// It succeeded: `done`.
    Done,
    /// It ended without success.
    Failed {
        /// `error`, `cancelled` or `timeout`.
        state: &'static str,
        /// The director's text for people.
        result: String,
    },
}

/// Steps that a task has reported since the last request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSteps {
    /// The steps, in order of time.
    pub steps: Vec<TaskStep>,
    /// Position for the next request.
    pub next: u64,
}

/// A report about a step of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskStep {
    /// `Updating instance`, ...
    pub stage: String,
    /// `web/0 (canary)`, ...
    pub name: String,
    /// State of the step.
    pub state: StepState,
}

/// State of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepState {
    /// It has begun.
    Started,
    /// It is in progress.
    InProgress,
    /// It succeeded.
    Finished,
    /// It failed, with the reason if the director gives one.
    Failed(Option<String>),
}

impl DirectorClient {
    /// `GET /tasks/:id`.
    ///
    /// # Errors
    /// When the request fails.
    pub async fn task(&self, id: TaskId) -> Result<TaskStatus, ClientError> {
        let task: Task = self.get(OperatorAction::Task(id).into(), &format!("/tasks/{id}")).await?;
        Ok(task.into())
    }

    /// `GET /tasks/:id/output?type=event` from a byte on, 0 at first: the lines that are complete. Lines that report no
    /// step, such as warnings, are skipped.
    ///
    /// # Errors
    /// When the request fails.
    pub async fn task_steps(&self, id: TaskId, from: u64) -> Result<TaskSteps, ClientError> {
        let (path, range) = (format!("/tasks/{id}/output?type=event"), format!("bytes={from}-"));
        let answer = self.asked(&path, Some((header::RANGE, range.as_str()))).await;
        answer
            .and_then(|answer| Ok(steps(news(&answer, from)?, from)))
            .map_err(|cause| ClientError { operation: OperatorAction::Task(id).into(), cause })
    }
}

/// The requested part of an output. A server without support for ranges sends all of it.
fn news(answer: &Answer, from: u64) -> Result<&[u8], Cause> {
    match answer.status {
        StatusCode::PARTIAL_CONTENT => Ok(&answer.body),
        StatusCode::OK => Ok(usize::try_from(from).ok().and_then(|from| answer.body.get(from..)).unwrap_or_default()),
        // There is no output yet, or none since the last request.
        StatusCode::NO_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(&[]),
        _ => Err(failed(answer)),
    }
}

fn steps(output: &[u8], from: u64) -> TaskSteps {
    let whole = output.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let lines = output[..whole].split(|byte| *byte == b'\n');
    let steps = lines.filter_map(|line| serde_json::from_slice(line).ok().and_then(step)).collect();
    TaskSteps { steps, next: from + whole as u64 }
}

fn step(event: TaskEvent) -> Option<TaskStep> {
    let TaskEvent::Progress { stage, task, state, data, .. } = event else { return None };
    let state = match state.as_str() {
        "started" => StepState::Started,
        "in_progress" => StepState::InProgress,
        "finished" => StepState::Finished,
        "failed" => StepState::Failed(data.and_then(|data| data["error"].as_str().map(str::to_owned))),
        _ => return None,
    };
    Some(TaskStep { stage, name: task, state })
}

impl From<Task> for TaskStatus {
    fn from(task: Task) -> Self {
        let failed = |state| Self::Failed { state, result: task.result.unwrap_or_default() };
        match task.state {
            TaskState::Queued | TaskState::Processing | TaskState::Cancelling => Self::UnderWay,
            TaskState::Done => Self::Done,
            TaskState::Error => failed("error"),
            TaskState::Cancelled => failed("cancelled"),
            TaskState::Timeout => failed("timeout"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(file: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/director/");
        std::fs::read(format!("{folder}{file}")).unwrap()
    }

    fn partial(status: StatusCode, body: &[u8]) -> Answer {
        Answer { status, location: None, date: None, body: bytes::Bytes::copy_from_slice(body) }
    }

    #[test]
    fn a_recorded_task_stands_as_the_director_says() {
        let status = |file: &str| TaskStatus::from(serde_json::from_slice::<Task>(&recorded(file)).unwrap());
        assert_eq!(status("task_queued.json"), TaskStatus::UnderWay);
        assert_eq!(status("task_processing.json"), TaskStatus::UnderWay);
        assert_eq!(status("task_done.json"), TaskStatus::Done);
        let TaskStatus::Failed { state: "error", result } = status("task_error.json") else { panic!() };
        assert!(!result.is_empty());
    }

    #[test]
    fn a_recorded_output_is_read_as_far_as_its_lines_are_whole() {
        let output = recorded("task_output_event_deploy.jsonl");
        let all = steps(&[output.as_slice(), b"\n"].concat(), 0);
        assert!(all.steps.iter().any(|step| step.state == StepState::Finished), "{all:?}");
        for cut in 0..=output.len() {
            let first = steps(&output[..cut], 0);
            let offset = usize::try_from(first.next).unwrap();
            let rest = steps(&[&output[offset..], b"\n"].concat(), first.next);
            assert_eq!([first.steps, rest.steps].concat(), all.steps, "cut at {cut}");
            assert_eq!(rest.next, all.next);
        }
    }

    #[test]
    fn what_tells_of_no_step_is_passed_over() {
        let lines = concat!(
            r#"{"time":1,"type":"deprecation","message":"old"}"#,
            "\nno json\n",
            r#"{"time":1,"stage":"s","tags":[],"total":1,"task":"t","index":1,"state":"failed","progress":100,"data":{"error":"no"}}"#,
            "\n",
            r#"{"time":1,"error":{"code":100,"message":"no"}}"#,
            "\n",
        );
        let read = steps(lines.as_bytes(), 7);
        let failed = TaskStep { stage: "s".into(), name: "t".into(), state: StepState::Failed(Some("no".into())) };
        assert_eq!(read, TaskSteps { steps: vec![failed], next: 7 + lines.len() as u64 });
    }

    #[test]
    fn only_what_was_asked_for_is_read_whether_or_not_ranges_are_known() {
        let news = |status, from| news(&partial(status, b"abc\n"), from).unwrap().to_vec();
        assert_eq!(news(StatusCode::PARTIAL_CONTENT, 2), b"abc\n");
        assert_eq!(news(StatusCode::OK, 2), b"c\n");
        assert_eq!(news(StatusCode::OK, 9), b"");
        assert_eq!(news(StatusCode::RANGE_NOT_SATISFIABLE, 4), b"");
        assert_eq!(news(StatusCode::NO_CONTENT, 0), b"");
    }
}
