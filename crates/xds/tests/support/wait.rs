//! Waiting with a deadline.

use std::{future::Future, time::Duration};

use tokio::sync::watch;

const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("the deadline has passed")
}

pub(crate) async fn until<T: Clone>(values: &mut watch::Receiver<T>, condition: impl Fn(&T) -> bool) -> T {
    within(values.wait_for(condition)).await.expect("the sender lives").clone()
}
