//! The board on which a tree's supervisors publish its status.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{ChildKind, ChildState, ChildStatus, TreeStatus};

#[derive(Clone)]
pub(crate) struct Board(Arc<watch::Sender<Arc<TreeStatus>>>);

impl Board {
    pub(crate) fn new(tree: &str) -> Self {
        let status = TreeStatus { name: tree.to_owned(), children: Vec::new() };
        Self(Arc::new(watch::Sender::new(Arc::new(status))))
    }

    pub(crate) fn read(&self) -> watch::Receiver<Arc<TreeStatus>> {
        self.0.subscribe()
    }

    pub(crate) fn children(&self) -> Vec<(String, ChildKind)> {
        self.0.borrow().children.iter().map(|child| (child.name.clone(), child.kind)).collect()
    }

    pub(crate) fn add(&self, name: String, kind: ChildKind) {
        let child = ChildStatus { name, kind, state: ChildState::Starting, stuck: None, restarts: 0, last_exit: None };
        self.0.send_modify(|status| Arc::make_mut(status).children.push(child));
    }

    pub(crate) fn update(&self, name: &str, change: impl FnOnce(&mut ChildStatus)) {
        self.0.send_modify(|status| {
            if let Some(child) = Arc::make_mut(status).children.iter_mut().find(|child| child.name == name) {
                change(child);
            }
        });
    }
}
