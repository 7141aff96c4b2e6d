//! A socket that another process may hold.
//!
//! A VM is shared by jobs that do not know of each other. A socket that is taken affects only what is served on it.
//! Binding it is retried with growing pauses, and the reason can be read in the meantime. Once bound, the socket
//! outlives the actor that serves on it, so that a restart refuses no connection.

use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwap;
use boshy_backoff::{Backoff, Retries};
use err_report::Report;
use tokio::time::sleep;

/// A port that has become free is served after the longest pause at the latest.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(5), jitter: 0.25 };

/// See the module's documentation. Clones share the socket.
pub(crate) struct ServerSocket<S>(Arc<Inner<S>>);

struct Inner<S> {
    bind: Box<dyn Fn() -> Result<S, BindError> + Send + Sync>,
    bound: OnceLock<Arc<S>>,
    trouble: ArcSwap<Option<String>>,
}

/// Why a socket is not bound.
pub(crate) type BindError = Box<dyn std::error::Error + Send + Sync>;

impl<S> Clone for ServerSocket<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> ServerSocket<S> {
    /// Binds the socket, or records why that is not possible yet.
    pub(crate) fn new<E: Into<BindError>>(bind: impl Fn() -> Result<S, E> + Send + Sync + 'static) -> Self {
        let inner = Inner {
            bind: Box::new(move || bind().map_err(Into::into)),
            bound: OnceLock::new(),
            trouble: ArcSwap::from_pointee(None),
        };
        let socket = Self(Arc::new(inner));
        socket.try_bind();
        socket
    }

    /// A socket that is already bound.
    pub(crate) fn of(socket: S) -> Self {
        let bound = OnceLock::from(Arc::new(socket));
        let bind = Box::new(|| Err(io::Error::other("it is bound").into()));
        Self(Arc::new(Inner { bind, bound, trouble: ArcSwap::from_pointee(None) }))
    }

    /// Waits for the bound socket.
    pub(crate) async fn bound(&self) -> Arc<S> {
        let mut retries = Retries::new(BACKOFF);
        loop {
            if let Some(socket) = self.try_bind() {
                return socket;
            }
            sleep(retries.failed()).await;
        }
    }

    /// The socket, if it is bound.
    pub(crate) fn now(&self) -> Option<Arc<S>> {
        self.0.bound.get().cloned()
    }

    /// Why it is not bound.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.0.trouble.load().as_ref().clone()
    }

    fn try_bind(&self) -> Option<Arc<S>> {
        if let Some(socket) = self.now() {
            return Some(socket);
        }
        match (self.0.bind)() {
            Ok(socket) => {
                self.0.trouble.store(Arc::new(None));
                Some(Arc::clone(self.0.bound.get_or_init(|| Arc::new(socket))))
            }
            Err(error) => {
                self.0.trouble.store(Arc::new(Some(Report::new(&*error).to_string())));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_socket_that_is_taken_is_told_and_bound_once_it_is_free() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = holder.local_addr().unwrap();
        let socket = ServerSocket::new(move || TcpListener::bind(address));
        assert!(socket.trouble().unwrap().contains("Address already in use"));
        assert!(socket.now().is_none());
        let (bound, ()) = tokio::join!(socket.bound(), async { drop(holder) });
        assert_eq!(bound.local_addr().unwrap(), address);
        assert_eq!(socket.trouble(), None);
        assert!(Arc::ptr_eq(&bound, &socket.clone().now().unwrap()));
    }
}
