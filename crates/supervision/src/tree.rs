//! Declares a tree.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix::{Actor, Context};
use tokio::sync::{Mutex, mpsc, watch};

use crate::{
    Backoff, ChildRef, ExitReason, Link, Placement, Restart, Saboteur, Shutdown, Strategy, TreeStatus,
    board::Board,
    child::{ActorBody, Body, Child, Factory, Nested},
    orders::Present,
    policy::Intensity,
    roster::Terms,
    supervise::supervise,
};

/// Messages that wait for a child unless [`Declaration::queue`] says otherwise.
const DEFAULT_QUEUE: usize = 1024;

/// A supervisor and its children. Order of declaration is order of start and of dependency; stopping goes the other way.
pub struct Tree {
    pub(crate) name: String,
    pub(crate) strategy: Strategy,
    pub(crate) intensity: Intensity,
    pub(crate) children: Vec<Child>,
    board: Board,
    targets: Vec<(String, Present)>,
}

impl Tree {
    /// A tree without children, one-for-one, that bears three restarts in a minute.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            strategy: Strategy::default(),
            intensity: Intensity::default(),
            children: Vec::new(),
            board: Board::new(name),
            targets: Vec::new(),
        }
    }

    /// Whom a fall concerns.
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// How many falls the tree mends within `period`; at the next one it stops its children and gives up, which its parent counts
    /// as the fall of one child.
    #[must_use]
    pub fn intensity(mut self, max_restarts: u32, period: Duration) -> Self {
        self.intensity = Intensity { max_restarts, period };
        self
    }

    /// Begins to declare a child; [`Declaration::add`] ends it. The factory makes a fresh actor for each life, on the thread where
    /// the actor lives.
    pub fn child<A, F>(&mut self, name: &str, factory: F) -> Declaration<'_, A>
    where
        A: Actor<Context = Context<A>>,
        F: Fn(&Link) -> A + Send + Sync + 'static,
    {
        Declaration {
            tree: self,
            name: name.to_owned(),
            factory: Arc::new(factory),
            terms: Terms { restart: Restart::default(), backoff: Backoff::default() },
            shutdown: Shutdown::default(),
            placement: Placement::default(),
            queue: DEFAULT_QUEUE,
        }
    }

    /// Declares a tree as a child: permanent, with the default back-off, on the same thread. Its children appear in the status of
    /// this tree as `tree/child`. Those that have ended for good stay so when their tree is restarted.
    ///
    /// # Panics
    /// When a child of that name exists.
    pub fn tree(&mut self, tree: Self) {
        let name = tree.name.clone();
        let inner = tree.board.names();
        let targets = tree.targets.clone();
        let terms = Terms { restart: Restart::Permanent, backoff: Backoff::default() };
        self.push(&name, terms, Nested::SHUTDOWN, Box::new(Nested(Rc::new(tree))));
        for child in inner {
            self.board.add(format!("{name}/{child}"));
        }
        self.targets.extend(targets.into_iter().map(|(child, present)| (format!("{name}/{child}"), present)));
    }

    /// What the tree shows of itself. To be asked of the root: a nested tree reports there.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Arc<TreeStatus>> {
        self.board.read()
    }

    /// A switch that makes the children declared so far panic, for kill tests in a lab.
    #[must_use]
    pub fn saboteur(&self) -> Saboteur {
        Saboteur { targets: self.targets.as_slice().into() }
    }

    /// Starts the children and supervises them until `shutdown` resolves or the tree gives up; then stops them, last first, and
    /// closes their queues. Needs a `LocalSet`, such as an actix `System`. Dropping the future kills the children.
    ///
    /// [`ExitReason::Normal`] or [`ExitReason::GaveUp`].
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> ExitReason {
        let reason = supervise(&self, "", &self.board, shutdown, None).await;
        self.close();
        reason
    }

    /// Ends all children for good.
    pub(crate) fn close(&self) {
        for child in self.children.iter().rev() {
            child.close();
        }
    }

    fn push(&mut self, name: &str, terms: Terms, shutdown: Shutdown, body: Box<dyn Body>) -> Present {
        assert!(self.children.iter().all(|child| child.name != name), "tree {}: two children {name}", self.name);
        self.board.add(name.to_owned());
        let present = Present::default();
        self.children.push(Child {
            name: name.to_owned(),
            terms,
            shutdown,
            body,
            generation: Cell::new(0),
            ended: Cell::new(false),
            present: present.clone(),
        });
        present
    }
}

/// A child specification in the making.
#[must_use = "a child exists once it is added"]
pub struct Declaration<'t, A: Actor<Context = Context<A>>> {
    tree: &'t mut Tree,
    name: String,
    factory: Factory<A>,
    terms: Terms,
    shutdown: Shutdown,
    placement: Placement,
    queue: usize,
}

impl<A: Actor<Context = Context<A>>> Declaration<'_, A> {
    /// After which ends it is started again. Default: permanent.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.terms.restart = restart;
        self
    }

    /// Pauses between restarts.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.terms.backoff = backoff;
        self
    }

    /// How it is stopped. Default: it may drain for five seconds.
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// Where it runs. Default: beside its siblings.
    pub fn on(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// How many messages may wait for it, at least 1. Default: 1024.
    pub fn queue(mut self, capacity: usize) -> Self {
        self.queue = capacity;
        self
    }

    /// Adds the child to the tree.
    ///
    /// # Panics
    /// When a child of that name exists, or the queue has no place.
    pub fn add(self) -> ChildRef<A> {
        let (sender, receiver) = mpsc::channel(self.queue);
        let body = ActorBody {
            factory: self.factory,
            inbox: Arc::new(Mutex::new(receiver)),
            placement: self.placement,
            thread: RefCell::new(None),
        };
        let present = self.tree.push(&self.name, self.terms, self.shutdown, Box::new(body));
        self.tree.targets.push((self.name.clone(), present));
        ChildRef::new(&self.name, sender)
    }
}
