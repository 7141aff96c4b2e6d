//! Finds children that show no sign of life, from any thread, and ends those that can be ended.

use std::{
    collections::BTreeMap,
    fmt,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use crate::{
    board::Board,
    orders::{Lives, Present},
    pulse::Silence,
};

/// Interval of the checks.
const PERIOD: Duration = Duration::from_secs(1);

/// Reports which children of a tree are stuck. It reads what they recorded and waits for none of them. So it can be
/// called on any thread and also answers when their threads are stuck.
#[derive(Clone)]
pub struct Vitals(pub(crate) Lives);

/// A child that has shown no sign of life for longer than its bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// Name of the child.
    pub child: String,
    /// How long it has shown no sign of life.
    pub since: Duration,
    silence: Silence,
}

impl Stuck {
    /// Whether its thread still runs, so that its tree can end this life and start another.
    fn can_be_ended(&self) -> bool {
        matches!(self.silence, Silence::Loop { .. })
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { child, since, silence } = self;
        let seconds = since.as_secs();
        match silence {
            Silence::Thread { itself: true, .. } => write!(f, "{child} has blocked its thread for {seconds} s"),
            Silence::Thread { itself: false, .. } => write!(f, "{child} has waited for its thread for {seconds} s"),
            Silence::Loop { what, .. } => write!(f, "{child} has shown no life for {seconds} s: {what}"),
        }
    }
}

impl Vitals {
    /// Children that are stuck now; those that block a thread come first.
    #[must_use]
    pub fn stuck(&self) -> Vec<Stuck> {
        let lives = self.0.all();
        let told = |child: &str, silence: Silence| {
            let (Silence::Thread { since, .. } | Silence::Loop { since, .. }) = silence;
            Stuck { child: child.to_owned(), since, silence }
        };
        let silences: Vec<(&(String, Present), Option<Silence>)> =
            lives.iter().map(|life| (life, life.1.silence())).collect();
        let waits = silences.iter().any(|(_, silence)| matches!(silence, Some(Silence::Thread { itself: false, .. })));
        let stuck = |((child, present), silence): (&(String, Present), Option<Silence>)| {
            let silence = silence.or_else(|| present.holds_its_thread().filter(|_| waits))?;
            Some(told(child, silence))
        };
        let mut stuck: Vec<Stuck> = silences.into_iter().filter_map(stuck).collect();
        stuck.sort_by_key(|stuck| !matches!(stuck.silence, Silence::Thread { itself: true, .. }));
        stuck
    }
}

/// Reports stuck children in log and status, and ends the lives whose thread still runs. It runs on a thread of its
/// own, because the tree's thread may be the blocked one. It ends when it is dropped.
pub(crate) struct Watch(#[expect(dead_code, reason = "dropping it is the order to end")] mpsc::Sender<()>);

impl Watch {
    pub(crate) fn begin(lives: Lives, board: Board) -> Self {
        let (end, ended) = mpsc::channel();
        let watch = move || {
            let mut known = BTreeMap::new();
            while ended.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                look(&lives, &board, &mut known);
            }
        };
        // Without a thread for this, the tree still works, and `/healthz` still reports stuck children.
        #[expect(clippy::disallowed_methods, reason = "this is supervision: health is reported without this thread")]
        let begun = thread::Builder::new().name("vitals".to_owned()).spawn(watch);
        if let Err(error) = begun {
            tracing::error!(%error, "cannot watch for stuck children");
        }
        Self(end)
    }
}

fn look(lives: &Lives, board: &Board, known: &mut BTreeMap<String, String>) {
    let stuck: BTreeMap<String, Stuck> =
        Vitals(lives.clone()).stuck().into_iter().map(|stuck| (stuck.child.clone(), stuck)).collect();
    known.retain(|child, _| {
        let still = stuck.contains_key(child);
        if !still {
            tracing::info!(child, "shows life again");
            board.update(child, |status| status.stuck = None);
        }
        still
    });
    for (child, stuck) in stuck {
        let text = stuck.to_string();
        if known.insert(child.clone(), text.clone()).is_none() {
            tracing::error!(child, text, "stuck");
        }
        if stuck.can_be_ended()
            && let Some((_, present)) = lives.all().into_iter().find(|(name, _)| *name == child)
        {
            present.end(text.clone());
        }
        board.update(&child, |status| status.stuck = Some(text));
    }
}
