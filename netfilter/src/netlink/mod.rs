//! The netlink messages of nf_tables, routes and sock_diag. All of it is pure.

mod compared;
pub(crate) mod diag;
pub(crate) mod expression;
pub(crate) mod nftables;
pub(crate) mod policy;
pub(crate) mod route;
