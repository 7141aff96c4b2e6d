//! What a tunnel end is made of, and its bounds.

use std::path::PathBuf;

use http::HeaderName;

/// What a tunnel end is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Unix socket at which Envoy is served. Only its owner may connect.
    pub socket: PathBuf,
    /// Header of a request that says which program is meant: `IP:PORT`. Envoy sets it, whatever the caller sends.
    pub program: HeaderName,
    /// Threads that carry tunnels. A connection of Envoy, of which each of its workers makes its own, stays at one.
    pub threads: usize,
}

impl Parts {
    /// Octets from a caller that are held for a program that does not read them.
    pub const STREAM_WINDOW: u32 = 256 << 10;
    /// Streams in one connection. Envoy makes another one for more.
    pub const MOST_STREAMS: u32 = 1024;
}
