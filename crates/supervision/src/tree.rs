//! Declaration of a tree.

use std::{cell::Cell, future::Future, rc::Rc, sync::Arc, time::Duration};

use actix::{Actor, Context};
use tokio::sync::{Mutex, mpsc, watch};

use crate::{
    Backoff, ChildKind, ChildRef, ExitReason, Heart, Link, Outcome, Placement, Restart, Saboteur, Shutdown, Strategy,
    TreeStatus, Vitals,
    board::Board,
    body::{ActorBody, Factory, Ground, TaskBody, Work},
    nested::Nested,
    orders::{Lives, Present},
    policy::{BACKOFF, Intensity, SILENCE},
    roster::Terms,
    spec::{Body, Child, SupervisorSpec},
    supervise::supervise,
    vitals::Watch,
};

/// Capacity of a child's queue unless [`Declaration::queue`] sets another.
const DEFAULT_QUEUE: usize = 1024;

/// A supervisor and its children. The order of declaration is the order of start and of dependency; stopping uses the
/// reverse order.
pub struct Tree {
    spec: SupervisorSpec,
    board: Board,
    lives: Lives,
}

impl Tree {
    /// A tree without children: one-for-one, with three restarts allowed per minute.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let spec = SupervisorSpec {
            name: name.to_owned(),
            strategy: Strategy::default(),
            intensity: Intensity::default(),
            children: Vec::new(),
        };
        Self { spec, board: Board::new(name), lives: Lives::default() }
    }

    /// Sets which children a fall affects.
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.spec.strategy = strategy;
        self
    }

    /// Sets how many falls within `period` the tree repairs, and how many falls in a row of one child, that is, without
    /// a life in between that lasted a whole period and the child's longest pause. At the next fall it stops its
    /// children and gives up, which its parent counts as the fall of one child.
    #[must_use]
    pub fn intensity(mut self, max_restarts: u32, period: Duration) -> Self {
        self.spec.intensity = Intensity { max_restarts, period };
        self
    }

    /// Begins the declaration of an actor; [`Declaration::add`] completes it. The factory creates a fresh actor for
    /// each life, on the thread where the actor runs.
    pub fn child<A, F>(&mut self, name: &str, factory: F) -> Declaration<'_, ActorOf<A>>
    where
        A: Actor<Context = Context<A>>,
        F: Fn(&Link) -> A + Send + Sync + 'static,
    {
        self.declare(name, ActorOf { factory: Arc::new(factory), queue: DEFAULT_QUEUE, shutdown: Shutdown::default() })
    }

    /// Begins the declaration of a task: a loop that measures or watches and has no messages. [`Declaration::add`]
    /// completes it.
    ///
    /// Each life is a fresh future, polled on the thread where it was created. It falls when it panics, when it ends
    /// with an error or without one, and when its heart does not beat (see [`Heart`]). When asked to stop, it is
    /// dropped at its current await point.
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
            terms: Terms { restart: Restart::default(), backoff: BACKOFF },
            placement: Placement::default(),
            silence: SILENCE,
            kind,
        }
    }

    /// Declares a tree as a child: permanent, with the default back-off, on the same thread. Its children appear in the
    /// status of this tree as `tree/child`. Those that have ended for good stay ended when their tree is restarted.
    ///
    /// # Panics
    /// When a child of that name exists.
    pub fn tree(&mut self, tree: Self) {
        let name = tree.spec.name.clone();
        let inner = tree.board.children();
        self.lives.add_below(&name, &tree.lives);
        let terms = Terms { restart: Restart::Permanent, backoff: BACKOFF };
        self.push(name.clone(), ChildKind::Tree, terms, Nested::SHUTDOWN, None, Box::new(Nested(Rc::new(tree.spec))));
        for (child, kind) in inner {
            self.board.add(format!("{name}/{child}"), kind);
        }
    }

    /// Status of the tree. Ask the root for it: a nested tree reports to the root.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Arc<TreeStatus>> {
        self.board.read()
    }

    /// Reports which children are stuck, on any thread. Ask the root for it.
    #[must_use]
    pub fn vitals(&self) -> Vitals {
        Vitals(self.lives.clone())
    }

    /// A switch that makes children panic or hang, for tests in a lab.
    #[must_use]
    pub fn saboteur(&self) -> Saboteur {
        Saboteur(self.lives.clone())
    }

    /// Starts the children and supervises them until `shutdown` resolves or the tree gives up. Then it stops them, last
    /// first, and closes their queues. Needs a `LocalSet`, such as an actix `System`. Dropping the future kills the
    /// children.
    ///
    /// Returns [`ExitReason::Normal`] or [`ExitReason::GaveUp`].
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> ExitReason {
        let _watch = Watch::begin(self.lives.clone(), self.board.clone());
        let reason = supervise(&self.spec, "", &self.board, shutdown, None).await;
        self.spec.close();
        reason
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
        assert!(
            self.spec.children.iter().all(|child| child.name != name),
            "tree {}: two children {name}",
            self.spec.name
        );
        self.board.add(name.clone(), kind);
        let present = Present::default();
        if kind != ChildKind::Tree {
            self.lives.add(name.clone(), present.clone());
        }
        let (generation, ended) = (Cell::new(0), Cell::new(false));
        self.spec.children.push(Child { name, terms, shutdown, silence, body, generation, ended, present });
    }
}

/// A child specification under construction.
#[must_use = "a child exists once it is added"]
pub struct Declaration<'t, K> {
    tree: &'t mut Tree,
    name: String,
    terms: Terms,
    placement: Placement,
    silence: Duration,
    kind: K,
}

/// The part of a declaration that is specific to an actor.
pub struct ActorOf<A: Actor> {
    factory: Factory<A>,
    queue: usize,
    shutdown: Shutdown,
}

/// The part of a declaration that is specific to a task.
pub struct TaskOf<F> {
    work: Work<F>,
}

impl<K> Declaration<'_, K> {
    /// After which ends it is restarted. Default: permanent.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.terms.restart = restart;
        self
    }

    /// Pauses between restarts. The first restart is immediate; the second in a row waits `backoff.first`. A life that
    /// lasted `backoff.longest` or longer starts a new row. Default: 100 ms, doubling up to 30 s.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.terms.backoff = backoff;
        self
    }

    /// Where it runs. Default: on the thread of its siblings.
    pub fn on(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// How long it may show no sign of life; must exceed its longest regular wait. One that is silent for longer is
    /// reported by [`Vitals`], and restarted if its thread still runs. Default: 30 seconds.
    ///
    /// An actor shows life while it takes messages or is ready to take them, so not while it waits (`ctx.wait`). Each
    /// loop that it keeps ([`Link::keep`]), and a task, shows life through its heart.
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

    /// Capacity of its queue, at least 1. Default: 1024.
    pub fn queue(mut self, capacity: usize) -> Self {
        self.kind.queue = capacity;
        self
    }

    /// Adds the actor to the tree.
    ///
    /// # Panics
    /// When a child of that name exists, or the queue has no capacity.
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
