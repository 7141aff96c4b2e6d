//! Declares a tree.

use std::{cell::Cell, future::Future, rc::Rc, sync::Arc, time::Duration};

use actix::{Actor, Context};
use tokio::sync::{Mutex, mpsc, watch};

use crate::{
    Backoff, ChildKind, ChildRef, ExitReason, Heart, Link, Outcome, Placement, Restart, Saboteur, Shutdown, Strategy,
    TreeStatus, Vitals,
    board::Board,
    child::{ActorBody, Body, Child, Factory, Ground, Nested, TaskBody, Work},
    orders::{Lives, Present},
    policy::{Intensity, SILENCE},
    roster::Terms,
    supervise::supervise,
    vitals::Watch,
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
    lives: Lives,
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
            lives: Lives::default(),
        }
    }

    /// Whom a fall concerns.
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// How many falls the tree mends within `period`, and how many falls in a row of one child: those without a life between that
    /// lasted a whole period and the longest pause of the child. At the next one it stops its children and gives up, which its
    /// parent counts as the fall of one child.
    #[must_use]
    pub fn intensity(mut self, max_restarts: u32, period: Duration) -> Self {
        self.intensity = Intensity { max_restarts, period };
        self
    }

    /// Begins to declare an actor; [`Declaration::add`] ends it. The factory makes a fresh actor for each life, on the thread where
    /// the actor lives.
    pub fn child<A, F>(&mut self, name: &str, factory: F) -> Declaration<'_, ActorOf<A>>
    where
        A: Actor<Context = Context<A>>,
        F: Fn(&Link) -> A + Send + Sync + 'static,
    {
        self.declare(name, ActorOf { factory: Arc::new(factory), queue: DEFAULT_QUEUE, shutdown: Shutdown::default() })
    }

    /// Begins to declare a task: a loop that measures or watches and takes no messages. [`Declaration::add`] ends it.
    ///
    /// Each life is a fresh future, polled on the thread where it was made. It falls when it panics and when it ends, with an
    /// error or without one, and when its heart does not beat (see [`Heart`]). Asked to stop, it is dropped where it waits.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut tree = boshy_supervision::Tree::new("example");
    /// tree.task("watcher", |heart| async move {
    ///     for _ in 0.. {
    ///         heart.beat();
    ///         tokio::time::sleep(Duration::from_secs(1)).await;
    ///     }
    /// })
    /// .add();
    /// ```
    pub fn task<F, W>(&mut self, name: &str, work: W) -> Declaration<'_, TaskOf<F>>
    where
        F: Future<Output: Outcome> + 'static,
        W: Fn(Heart) -> F + Send + Sync + 'static,
    {
        self.declare(name, TaskOf { work: Arc::new(work) })
    }

    fn declare<K>(&mut self, name: &str, kind: K) -> Declaration<'_, K> {
        Declaration {
            tree: self,
            name: name.to_owned(),
            terms: Terms { restart: Restart::default(), backoff: Backoff::default() },
            placement: Placement::default(),
            silence: SILENCE,
            kind,
        }
    }

    /// Declares a tree as a child: permanent, with the default back-off, on the same thread. Its children appear in the status of
    /// this tree as `tree/child`. Those that have ended for good stay so when their tree is restarted.
    ///
    /// # Panics
    /// When a child of that name exists.
    pub fn tree(&mut self, tree: Self) {
        let name = tree.name.clone();
        let inner = tree.board.children();
        self.lives.add_below(&name, &tree.lives);
        let terms = Terms { restart: Restart::Permanent, backoff: Backoff::default() };
        self.push(name.clone(), ChildKind::Tree, terms, Nested::SHUTDOWN, None, Box::new(Nested(Rc::new(tree))));
        for (child, kind) in inner {
            self.board.add(format!("{name}/{child}"), kind);
        }
    }

    /// What the tree shows of itself. To be asked of the root: a nested tree reports there.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Arc<TreeStatus>> {
        self.board.read()
    }

    /// Which children are stuck, to be asked of the root on any thread.
    #[must_use]
    pub fn vitals(&self) -> Vitals {
        Vitals(self.lives.clone())
    }

    /// A switch that makes children panic or hang, for tests in a lab.
    #[must_use]
    pub fn saboteur(&self) -> Saboteur {
        Saboteur(self.lives.clone())
    }

    /// Starts the children and supervises them until `shutdown` resolves or the tree gives up; then stops them, last first, and
    /// closes their queues. Needs a `LocalSet`, such as an actix `System`. Dropping the future kills the children.
    ///
    /// [`ExitReason::Normal`] or [`ExitReason::GaveUp`].
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> ExitReason {
        let _watch = Watch::begin(self.lives.clone(), self.board.clone());
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

    fn push(
        &mut self,
        name: String,
        kind: ChildKind,
        terms: Terms,
        shutdown: Shutdown,
        silence: Option<Duration>,
        body: Box<dyn Body>,
    ) {
        assert!(self.children.iter().all(|child| child.name != name), "tree {}: two children {name}", self.name);
        self.board.add(name.clone(), kind);
        let present = Present::default();
        if kind != ChildKind::Tree {
            self.lives.add(name.clone(), present.clone());
        }
        let (generation, ended) = (Cell::new(0), Cell::new(false));
        self.children.push(Child { name, terms, shutdown, silence, body, generation, ended, present });
    }
}

/// A child specification in the making.
#[must_use = "a child exists once it is added"]
pub struct Declaration<'t, K> {
    tree: &'t mut Tree,
    name: String,
    terms: Terms,
    placement: Placement,
    silence: Duration,
    kind: K,
}

/// That an actor is declared.
pub struct ActorOf<A: Actor> {
    factory: Factory<A>,
    queue: usize,
    shutdown: Shutdown,
}

/// That a task is declared.
pub struct TaskOf<F> {
    work: Work<F>,
}

impl<K> Declaration<'_, K> {
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

    /// Where it runs. Default: beside its siblings.
    pub fn on(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// How long it may show no life, more than what it rightly waits for at a time. One that shows none for longer is told by
    /// [`Vitals`], and restarted if its thread goes on without it. Default: 30 seconds.
    ///
    /// An actor shows life while it takes messages or would take them, so not while it waits (`ctx.wait`); each loop that it keeps
    /// ([`Link::keep`]) and a task by their heart.
    pub fn silent_for(mut self, bound: Duration) -> Self {
        self.silence = bound;
        self
    }
}

impl<A: Actor<Context = Context<A>>> Declaration<'_, ActorOf<A>> {
    /// How it is stopped. Default: it may drain for five seconds.
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.kind.shutdown = shutdown;
        self
    }

    /// How many messages may wait for it, at least 1. Default: 1024.
    pub fn queue(mut self, capacity: usize) -> Self {
        self.kind.queue = capacity;
        self
    }

    /// Adds the actor to the tree.
    ///
    /// # Panics
    /// When a child of that name exists, or the queue has no place.
    pub fn add(self) -> ChildRef<A> {
        let ActorOf { factory, queue, shutdown } = self.kind;
        let (sender, receiver) = mpsc::channel(queue);
        let inbox = Arc::new(Mutex::new(receiver));
        let body = ActorBody { factory, inbox, ground: Ground::new(self.placement) };
        let reference = ChildRef::new(&self.name, sender);
        self.tree.push(self.name, ChildKind::Actor, self.terms, shutdown, Some(self.silence), Box::new(body));
        reference
    }
}

impl<F: Future<Output: Outcome> + 'static> Declaration<'_, TaskOf<F>> {
    /// Adds the task to the tree.
    ///
    /// # Panics
    /// When a child of that name exists.
    pub fn add(self) {
        let body = TaskBody { work: self.kind.work, ground: Ground::new(self.placement) };
        self.tree.push(self.name, ChildKind::Task, self.terms, Shutdown::Kill, Some(self.silence), Box::new(body));
    }
}
