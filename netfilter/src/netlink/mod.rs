//! Netlink: messages as bytes (pure), the socket (the effect), and the message formats of nf_tables, routes and sockets
//! (pure).

pub(crate) mod diag;
pub(crate) mod expression;
pub(crate) mod nftables;
pub(crate) mod route;
pub(crate) mod socket;
pub(crate) mod wire;
