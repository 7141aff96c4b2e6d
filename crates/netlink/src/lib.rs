//! Netlink: messages and attributes as bytes (pure), and the socket (the effect).
//!
//! Nothing here knows a family of messages. Whoever speaks to a part of the kernel writes that part's messages with
//! [`Writer`] and parses them with [`messages`] and [`Attributes`]: `boshy-netfilter` those of nf_tables, routes and
//! sock_diag, `boshy-lab` those of links and addresses.
//!
//! The crates for netlink would not make this smaller. netlink-packet-core frames messages and leaves the request on
//! the socket to its user; neli does both, with a type for each message and 25 further crates.

#![forbid(unsafe_code)]

mod socket;
mod wire;

pub use socket::{NetlinkError, Socket};
pub use wire::{ACK, APPEND, Attributes, CREATE, DUMP, EXCLUSIVE, Message, REPLACE, Writer, messages};
