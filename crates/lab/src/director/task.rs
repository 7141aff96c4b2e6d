//! A task of the director, followed to its end.

use std::time::Duration;

use serde_json::Value;

use super::{
    Say,
    client::{Client, json},
};
use crate::error::LabError;

/// Between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Task<'a> {
    client: &'a Client,
    path: String,
    /// Bytes of its events that were read.
    read: usize,
}

impl<'a> Task<'a> {
    pub(super) fn new(client: &'a Client, path: String) -> Self {
        Self { client, path, read: 0 }
    }

    /// Says each step that has begun or failed.
    pub(super) async fn follow(mut self, operation: &str, say: Say<'_>) -> Result<(), LabError> {
        loop {
            let task = json(&self.path, self.client.get(&self.path, None).await?)?;
            let state = task["state"].as_str().unwrap_or_default();
            let is_over = !matches!(state, "queued" | "processing" | "cancelling");
            self.say_events(say).await?;
            match state {
                _ if !is_over => tokio::time::sleep(LOOK_PAUSE).await,
                "done" => return Ok(()),
                state => {
                    let result = task["result"].as_str().unwrap_or_default();
                    return Err(LabError::Refused(format!("{operation}: the director's task is {state}: {result}")));
                }
            }
        }
    }

    async fn say_events(&mut self, say: Say<'_>) -> Result<(), LabError> {
        let answer = self.client.get(&format!("{}/output?type=event", self.path), Some(self.read)).await?;
        // 416 and 204 say that there is nothing new.
        if !matches!(answer.status, 200 | 206) {
            return Ok(());
        }
        let whole = answer.body.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.read += whole;
        for line in answer.body[..whole].split(|byte| *byte == b'\n') {
            if let Some(text) = serde_json::from_slice(line).ok().as_ref().and_then(words) {
                say(&text);
            }
        }
        Ok(())
    }
}

/// A step worth a line.
fn words(event: &Value) -> Option<String> {
    let (stage, task) = (event["stage"].as_str()?, event["task"].as_str()?);
    match event["state"].as_str()? {
        "started" => Some(format!("{stage}: {task}")),
        "failed" => {
            let why = event["data"]["error"].as_str().unwrap_or("failed");
            Some(format!("{stage}: {task}: {why}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_begins_and_what_fails_is_said() {
        let event = |state: &str| json!({"stage": "Updating instance", "task": "web/1 (canary)", "state": state, "data": {"error": "no"}});
        assert_eq!(words(&event("started")).unwrap(), "Updating instance: web/1 (canary)");
        assert_eq!(words(&event("failed")).unwrap(), "Updating instance: web/1 (canary): no");
        assert_eq!(words(&event("finished")), None);
        assert_eq!(words(&json!({"error": {"code": 100}})), None);
    }
}
