//! Typed supervision over actix in OTP's terms.

mod status;

pub use status::{ChildState, ChildStatus, TreeStatus};
