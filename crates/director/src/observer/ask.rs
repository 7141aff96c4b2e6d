//! Puts the observer's questions to a director. Decides nothing.

use super::{Answer, Question, Reading};
use crate::client::DirectorClient;

/// Asks one question. A request takes no longer than the client's time-out, and a question is at most three of them besides a login.
pub async fn ask(client: &DirectorClient, question: Question) -> Answer {
    match question {
        Question::Deployments => Answer::Deployments(client.every_deployment().await),
        Question::Events { after } => Answer::Events(client.dated_events(after).await),
        Question::Tasks { limit, of_every_kind } => {
            let tasks = client.ended_tasks(limit, of_every_kind).await;
            Answer::Tasks { limit, of_every_kind, tasks }
        }
        Question::Deployment(name) => {
            // In this order instances are at least as new as the manifest that tells their groups.
            let manifest = client.manifest(&name).await;
            let instances = client.instances(&name).await;
            Answer::Deployment(name, Reading { manifest, instances })
        }
    }
}
