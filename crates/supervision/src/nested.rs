//! A tree as a child of another tree.

use std::{rc::Rc, time::Duration};

use crate::{
    board::Board,
    life::Seat,
    policy::Shutdown,
    spec::{Body, SupervisorSpec},
    supervise::supervise,
};

/// The supervisor of a nested tree. To its parent, it is one child.
pub(crate) struct Nested(pub(crate) Rc<SupervisorSpec>);

impl Nested {
    /// No deadline: its children stop within their own.
    pub(crate) const SHUTDOWN: Shutdown = Shutdown::Drain(Duration::MAX);
}

impl Body for Nested {
    fn begin(&self, seat: Seat, board: &Board) {
        let (spec, board) = (Rc::clone(&self.0), board.clone());
        #[expect(
            clippy::disallowed_methods,
            reason = "this is supervision: the parent waits for `exited`, which a panic drops"
        )]
        actix_rt::spawn(async move {
            let Seat { link, orders, started, exited } = seat;
            let prefix = format!("{}/", link.name());
            let reason = supervise(&spec, &prefix, &board, orders.to_end(), Some(started)).await;
            // There is no receiver when the parent itself is gone.
            let _ = exited.send(reason);
        });
    }

    fn close(&self) {
        self.0.close();
    }
}
