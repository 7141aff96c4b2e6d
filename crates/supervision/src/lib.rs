//! Typed supervision over actix in OTP's terms.
//!
//! actix's own `Supervisor` does not restart an actor that panicked, and a dead actor takes its mailbox and its address along. Here a
//! child is a specification with a queue; an actor is only the present life of it:
//!
//! ```text
//!               ┌ Tree: strategy, intensity ───────────────────────────┐
//!  ChildRef ────┼─> queue ──> life 1 ✝   life 2 ✝   life 3 (fresh value) │
//!  ChildRef ────┼─> queue ──> life 1                                     │
//!               │   nested Tree ...        a fall too many: gives up ────┼──> parent, at the root the exit code
//!               └────────────────────────────────────────────────────────┘
//! ```
//!
//! * A restart makes a fresh value in a fresh context. Truth that must survive lives outside the actor.
//! * A [`ChildRef`] is valid for ever. What is queued survives; only the message in hand is lost, and its caller is told.
//! * A panic in a handler, hook, timer, spawned or awaited future ends that life and nothing else on the thread.
//! * A life's end is learnt by a channel that belongs to this life alone and speaks when it is dropped, so the death of a whole thread is
//!   news too, and news of an earlier life reaches nobody.
//! * A task ([`Tree::task`]) is a child without a mailbox: a loop that measures or watches.
//! * A child that shows no life for longer than its bound is told by [`Vitals`] on any thread. It is restarted if its thread goes on.
//! * Too many falls in a period, or of one child in a row without a quiet life, and the tree stops its children and gives up, which is one fall to its parent and, at the root,
//!   [`ExitReason::exit_code`] 1: the supervisor of the process decides then.
//!
//! ```
//! use std::time::Duration;
//!
//! use actix::prelude::*;
//! use boshy_supervision::{ExitReason, Link, Restart, Strategy, Tree};
//!
//! struct Greeter(Link);
//!
//! impl Actor for Greeter {
//!     type Context = Context<Self>;
//! }
//!
//! #[derive(Message)]
//! #[rtype(result = "String")]
//! struct Greet;
//!
//! impl Handler<Greet> for Greeter {
//!     type Result = String;
//!
//!     fn handle(&mut self, _: Greet, _: &mut Context<Self>) -> String {
//!         format!("life {} of {}", self.0.generation(), self.0.name())
//!     }
//! }
//!
//! let exit = System::new().block_on(async {
//!     let mut tree = Tree::new("example").strategy(Strategy::RestForOne).intensity(3, Duration::from_secs(60));
//!     let greeter = tree.child("greeter", |link| Greeter(link.clone())).restart(Restart::Permanent).add();
//!     tree.run_until(async move {
//!         assert_eq!(greeter.send(Greet).await.unwrap(), "life 1 of greeter");
//!     })
//!     .await
//! });
//! assert_eq!(exit, ExitReason::Normal);
//! ```
//!
//! # Not promised
//!
//! * A child that blocks its thread is noticed ([`Vitals`]) and not ended: no thread can be. The process has to be. One on a thread of its
//!   own is left behind when the tree stops; one on the shared thread holds up its siblings and the supervisor.
//! * A message may have taken effect although its caller reads [`SendError::Lost`]. Messages have to be idempotent.
//! * A panic in a plain `ResponseFuture` costs its caller only: actix runs it as a task of its own. Such a task also outlives the life
//!   that began it.
//! * A destructor that panics is contained, but not one that runs during the unwinding (a local of the code that panicked), nor two
//!   of one life that panic together: there Rust aborts the process.
//! * A panic payload's text is shown and logged as it is; do not panic with secrets.
//! * `ctx.address()` works inside a life and dies with it. Cancelling `ctx.handle()` in a handler cancels the queue's feed, which ends the life.

mod board;
mod child;
mod child_ref;
mod exit;
mod life;
mod link;
mod orders;
mod policy;
mod pulse;
mod roster;
mod status;
mod supervise;
mod tree;
mod vitals;

pub use child_ref::{ChildRef, SendError};
pub use exit::{ExitReason, Outcome};
pub use link::Link;
pub use orders::Saboteur;
pub use policy::{Backoff, Placement, Restart, Shutdown, Strategy};
pub use pulse::Heart;
pub use status::{ChildKind, ChildState, ChildStatus, TreeStatus};
pub use tree::{ActorOf, Declaration, TaskOf, Tree};
pub use vitals::{Stuck, Vitals};

const _: () = assert!(cfg!(panic = "unwind"), "supervision catches panics: build with panic = \"unwind\"");
