//! Typed supervision over actix in OTP's terms.
mod board;
mod child;
mod child_ref;
mod exit;
mod life;
mod link;
mod orders;
mod policy;
mod roster;
mod status;
mod supervise;
mod tree;

pub use child_ref::{ChildRef, SendError};
pub use exit::ExitReason;
pub use link::Link;
pub use orders::Saboteur;
pub use policy::{Backoff, Placement, Restart, Shutdown, Strategy};
pub use status::{ChildState, ChildStatus, TreeStatus};
pub use tree::{Declaration, Tree};

const _: () = assert!(cfg!(panic = "unwind"), "supervision catches panics: build with panic = \"unwind\"");
