//! An actor that misbehaves on request.

use std::{
    panic,
    thread::{self, ThreadId},
    time::Duration,
};

use actix::prelude::*;
use boshy_supervision::Link;

use crate::journal::Journal;

/// A panic payload whose destructor panics.
pub(crate) struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        panic!("deliberate: in the payload's destructor");
    }
}

/// Where the probe panics, by generation or always, and its other behaviour. By default it does nothing special.
#[derive(Clone)]
pub(crate) struct Habits {
    pub(crate) panic_in_factory: fn(u64) -> bool,
    pub(crate) panic_in_started: fn(u64) -> bool,
    pub(crate) fail_in_started: fn(u64) -> bool,
    pub(crate) panic_in_stopping: bool,
    pub(crate) panic_in_stopped: bool,
    pub(crate) panic_in_drop: bool,
    /// How long it keeps working after it was asked to stop.
    pub(crate) linger: Option<Duration>,
    /// Interval at which it notes `tick GENERATION`.
    pub(crate) tick: Option<Duration>,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            panic_in_factory: |_| false,
            panic_in_started: |_| false,
            fail_in_started: |_| false,
            panic_in_stopping: false,
            panic_in_stopped: false,
            panic_in_drop: false,
            linger: None,
            tick: None,
        }
    }
}

pub(crate) struct Probe {
    link: Link,
    habits: Habits,
    journal: Journal,
    count: u64,
    lingered: bool,
}

impl Probe {
    pub(crate) fn factory(habits: &Habits, journal: &Journal) -> impl Fn(&Link) -> Self + Send + Sync + 'static {
        let (habits, journal) = (habits.clone(), journal.clone());
        move |link| {
            assert!(!(habits.panic_in_factory)(link.generation()), "deliberate: in the factory");
            Self { link: link.clone(), habits: habits.clone(), journal: journal.clone(), count: 0, lingered: false }
        }
    }

    fn note(&self, what: &str) {
        self.journal.note(format!("{what} {} {}", self.link.name(), self.link.generation()));
    }
}

impl Actor for Probe {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.note("started");
        assert!(!(self.habits.panic_in_started)(self.link.generation()), "deliberate: in started");
        if (self.habits.fail_in_started)(self.link.generation()) {
            self.link.clone().fail(ctx, "no table yet");
        }
        if let Some(period) = self.habits.tick {
            ctx.run_interval(period, |probe, _| probe.note("tick"));
        }
    }

    fn stopping(&mut self, ctx: &mut Self::Context) -> Running {
        self.note("stopping");
        assert!(!self.habits.panic_in_stopping, "deliberate: in stopping");
        match self.habits.linger {
            Some(time) if !self.lingered => {
                self.lingered = true;
                ctx.run_later(time, |_, ctx| ctx.stop());
                Running::Continue
            }
            _ => Running::Stop,
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.note("stopped");
        assert!(!self.habits.panic_in_stopped, "deliberate: in stopped");
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.note("dropped");
        assert!(!self.habits.panic_in_drop, "deliberate: in drop");
    }
}

/// Counts the messages of this kind that this life has handled.
#[derive(Message)]
#[rtype(result = "Tally")]
pub(crate) struct Count;

#[derive(Clone, Copy, Debug, PartialEq, Eq, MessageResponse)]
pub(crate) struct Tally {
    pub(crate) generation: u64,
    pub(crate) count: u64,
    pub(crate) thread: ThreadId,
}

impl Handler<Count> for Probe {
    type Result = Tally;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> Tally {
        self.count += 1;
        Tally { generation: self.link.generation(), count: self.count, thread: thread::current().id() }
    }
}

/// Notes a number.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Note(pub(crate) u64);

impl Handler<Note> for Probe {
    type Result = ();

    fn handle(&mut self, Note(number): Note, _: &mut Self::Context) {
        self.note(&format!("note {number}"));
    }
}

/// Waits (`ctx.wait`) for this time, then notes `woke`.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Nap(pub(crate) Duration);

impl Handler<Nap> for Probe {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, Nap(time): Nap, _: &mut Self::Context) -> Self::Result {
        let nap = tokio::time::sleep(time).into_actor(self);
        AtomicResponse::new(Box::pin(nap.map(|(), probe, _| probe.note("woke"))))
    }
}

/// Blocks its thread until the other end is dropped.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Block(pub(crate) std::sync::mpsc::Receiver<()>);

impl Handler<Block> for Probe {
    type Result = ();

    fn handle(&mut self, Block(until): Block, _: &mut Self::Context) {
        let _ = until.recv();
    }
}

/// A message that panics when it is dropped unhandled.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Fused;

impl Drop for Fused {
    fn drop(&mut self) {
        panic!("deliberate: in a message's destructor");
    }
}

impl Handler<Fused> for Probe {
    type Result = ();

    fn handle(&mut self, fused: Fused, _: &mut Self::Context) {
        std::mem::forget(fused);
    }
}

/// Ways to end a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Handler,
    HandlerWithGrenade,
    Spawned,
    Later,
    Interval,
    Wait,
    ActFuture,
    Stop,
    Terminate,
    Fail,
    Thread,
    /// Cancels a future of this life, then panics before the cancellation takes effect.
    AfterCancel,
    /// Sends itself a message, then panics before it is handled.
    AfterNotify,
}

#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Die(pub(crate) End);

#[derive(Debug, thiserror::Error)]
#[error("reading the table")]
struct Outer(#[source] std::num::ParseIntError);

impl Handler<Die> for Probe {
    type Result = ActorResponse<Self, ()>;

    fn handle(&mut self, Die(end): Die, ctx: &mut Self::Context) -> Self::Result {
        let moment = Duration::from_millis(5);
        let late = async || {
            tokio::task::yield_now().await;
            panic!("deliberate: in a future");
        };
        match end {
            End::Handler => panic!("deliberate: in a handler"),
            End::HandlerWithGrenade => panic::panic_any(Grenade),
            End::Spawned => _ = ctx.spawn(late().into_actor(self)),
            End::Later => _ = ctx.run_later(moment, |_, _| panic!("deliberate: in run_later")),
            End::Interval => _ = ctx.run_interval(moment, |_, _| panic!("deliberate: in run_interval")),
            End::Wait => ctx.wait(late().into_actor(self)),
            End::ActFuture => return ActorResponse::r#async(late().into_actor(self)),
            End::Stop => ctx.stop(),
            End::Terminate => ctx.terminate(),
            End::Fail => {
                let cause = "x".parse::<u8>().expect_err("not a number");
                self.link.clone().fail(ctx, Outer(cause));
            }
            End::Thread => {
                // Messages queued from now on wait for the next life.
                ctx.wait(std::future::pending().into_actor(self));
                Arbiter::current().stop();
            }
            End::AfterCancel => {
                let victim = ctx.run_later(moment, |_, _| ());
                ctx.cancel_future(victim);
                panic!("deliberate: with a cancellation pending");
            }
            End::AfterNotify => {
                ctx.notify_later(Note(99), moment);
                ctx.notify(Note(98));
                panic!("deliberate: with messages to itself under way");
            }
        }
        ActorResponse::reply(())
    }
}

/// Panics in a plain `ResponseFuture`, which is a task of its own.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct FailToReply;

impl Handler<FailToReply> for Probe {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: FailToReply, _: &mut Self::Context) -> Self::Result {
        Box::pin(async { panic!("deliberate: in a ResponseFuture") })
    }
}
