//! Speaking netlink: messages as bytes (pure), the socket (the effect), and the dialects of nf_tables, of routes and of
//! sockets (pure).

pub(crate) mod diag;
pub(crate) mod expression;
pub(crate) mod nftables;
pub(crate) mod route;
pub(crate) mod socket;
pub(crate) mod wire;
