//! Typed supervision over actix in OTP's terms.
//!
//! actix's own `Supervisor` does not restart an actor that panicked, and the mailbox and address of a dead actor are
//! lost. Here a child is a specification with a queue, and an actor is only the present life of the child:
//!
//! ```text
//!               ┌ Tree: strategy, intensity ───────────────────────────┐
//!  ChildRef ────┼─> queue ──> life 1 ✝   life 2 ✝   life 3 (fresh value) │
//!  ChildRef ────┼─> queue ──> life 1                                     │
//!               │   nested Tree ...        a fall too many: gives up ────┼──> parent, at the root the exit code
//!               └────────────────────────────────────────────────────────┘
//! ```
//!
//! * A restart creates a fresh value in a fresh context. State that must survive is kept outside the actor.
//! * A [`ChildRef`] is valid forever. Queued messages survive. Only the message being handled is lost, and its caller
//!   gets an error.
//! * A panic in a handler, hook, timer, spawned or awaited future ends that life and nothing else on the thread.
//! * The end of a life is reported by a channel that belongs to this life alone and also reports when it is dropped. So
//!   the death of a whole thread is noticed, and late news of an earlier life has no receiver.
//! * A task ([`Tree::task`]) is a child without a mailbox: a loop that measures or watches.
//! * A child that shows no sign of life for longer than its bound is reported by [`Vitals`] on any thread. It is
//!   restarted if its thread still runs.
//! * After too many falls in a period, or too many in a row of one child without a quiet life in between, the tree
//!   stops its children and gives up. To its parent this is one fall. At the root it is [`ExitReason::exit_code`] 1,
//!   and the supervisor of the process decides.
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
//! * A child that blocks its thread is noticed ([`Vitals`]) but not ended, because a thread cannot be killed. The
//!   process has to be restarted. A child on its own thread is left behind when the tree stops; one on the shared
//!   thread holds up its siblings and the supervisor.
//! * A message may have taken effect although its caller gets [`SendError::Lost`]. Messages have to be idempotent.
//! * A panic in a plain `ResponseFuture` affects only its caller: actix runs it as a task of its own. Such a task also
//!   outlives the life that started it.
//! * A destructor that panics is contained. Exceptions are a destructor that runs during unwinding (a local of the code
//!   that panicked), and two of one life that panic together: there Rust aborts the process.
//! * The message of a panic is shown and logged unchanged; do not panic with secrets.
//! * `ctx.address()` works inside a life and dies with it. Cancelling `ctx.handle()` in a handler cancels the pump of
//!   the queue, which ends the life.

mod board;
mod body;
mod child_ref;
mod exit;
mod life;
mod link;
mod nested;
mod orders;
mod policy;
mod pulse;
mod roster;
mod spec;
mod status;
mod supervise;
mod tree;
mod vitals;

pub use boshy_backoff::Backoff;
pub use child_ref::{ChildRef, SendError};
pub use exit::{ExitReason, Outcome};
pub use link::Link;
pub use orders::Saboteur;
pub use policy::{Placement, Restart, Shutdown, Strategy};
pub use pulse::Heart;
pub use status::{ChildKind, ChildState, ChildStatus, TreeStatus};
pub use tree::{ActorOf, Declaration, TaskOf, Tree};
pub use vitals::{Stuck, Vitals};

const _: () = assert!(cfg!(panic = "unwind"), "supervision catches panics: build with panic = \"unwind\"");
