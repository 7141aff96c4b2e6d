//! A clock, a log, and a tree that runs concurrently with the test.

use std::{
    future::Future,
    io, panic,
    sync::{Arc, Mutex, Once},
    time::Duration,
};

use actix::prelude::*;
use boshy_supervision::{ChildState, ChildStatus, ExitReason, Tree, TreeStatus};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

use crate::probe::Grenade;

/// Far longer than any step takes; virtual time where time is paused.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a scenario in an actix system whose clock jumps to the next timer whenever it is idle.
pub(crate) fn paused<T>(scenario: impl Future<Output = T>) -> T {
    prepare();
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("runtime");
    System::with_tokio_rt(runtime).block_on(scenario)
}

/// Runs a scenario in an ordinary actix system, for scenarios with several threads.
pub(crate) fn real<T>(scenario: impl Future<Output = T>) -> T {
    prepare();
    System::new().block_on(soon(scenario))
}

pub(crate) async fn soon<T>(step: impl Future<Output = T>) -> T {
    timeout(PATIENCE, step).await.expect("in good time")
}

/// Waits for a condition that no status shows.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    soon(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// Suppresses the output of deliberate panics and prints all others. Logs go to [`LOG`], for the whole process, because
/// a subscriber of one thread may miss an event that another thread logged first.
pub(crate) fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let deliberate = |text: &str| text.starts_with("deliberate") || text == "sabotage";
            if !info.payload_as_str().is_some_and(deliberate) && !info.payload().is::<Grenade>() {
                loud(info);
            }
        }));
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(|| LogWriter).finish();
        tracing::subscriber::set_global_default(subscriber).expect("no other");
    });
}

/// The logs of all tests.
pub(crate) static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct LogWriter;

impl io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A tree that runs concurrently with the test.
pub(crate) struct RunningTree {
    stop: oneshot::Sender<()>,
    task: JoinHandle<ExitReason>,
    status: watch::Receiver<Arc<TreeStatus>>,
}

impl RunningTree {
    pub(crate) fn start(tree: Tree) -> Self {
        let status = tree.status();
        let (stop, stopped) = oneshot::channel();
        let task = actix_rt::spawn(tree.run_until(async {
            let _ = stopped.await;
        }));
        Self { stop, task, status }
    }

    /// Asks it to stop, and returns how it ended.
    pub(crate) async fn stop(self) -> ExitReason {
        self.stop.send(()).expect("still running");
        soon(self.task).await.expect("the supervisor does not panic")
    }

    /// Waits until it ends on its own.
    pub(crate) async fn ended(self) -> ExitReason {
        soon(self.task).await.expect("the supervisor does not panic")
    }

    /// Drops the tree's future.
    pub(crate) fn abandon(self) {
        self.task.abort();
    }

    pub(crate) fn status(&self) -> Arc<TreeStatus> {
        Arc::clone(&self.status.borrow())
    }

    /// The child's status as soon as it satisfies the condition.
    pub(crate) async fn until(&mut self, name: &str, condition: impl Fn(&ChildStatus) -> bool) -> ChildStatus {
        let find = |status: &TreeStatus| status.children.iter().find(|child| child.name == name).cloned();
        let wanted = |status: &Arc<TreeStatus>| find(status).is_some_and(|child| condition(&child));
        let status = soon(self.status.wait_for(wanted)).await.expect("the tree lives");
        find(&status).expect("just seen")
    }

    pub(crate) async fn running(&mut self, name: &str, restarts: u64) -> ChildStatus {
        self.until(name, |child| child.state == ChildState::Running && child.restarts >= restarts).await
    }
}
