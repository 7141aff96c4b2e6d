//! The endpoints as clients see them: in process for what is said, over sockets for how.

mod client;
mod operations;
mod samples;
mod sockets;
mod v1;
