//! The netlink messages of nf_tables, routes and sock_diag. All of it is pure.

pub(crate) mod diag;
pub(crate) mod expression;
pub(crate) mod nftables;
pub(crate) mod route;
