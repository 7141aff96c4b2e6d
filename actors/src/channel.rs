//! Turns the values of a channel into an actor's messages.

use futures::{Stream, stream};
use tokio::sync::watch;

/// The present and all later values of a channel. A fresh life first gets the present value.
pub(crate) fn each<T: 'static, M: 'static>(
    mut channel: watch::Receiver<T>,
    message: impl Fn(&T) -> M + 'static,
) -> impl Stream<Item = M> + 'static {
    channel.mark_changed();
    stream::unfold((channel, message), |(mut channel, message)| async move {
        channel.changed().await.ok()?;
        let said = message(&channel.borrow_and_update());
        Some((said, (channel, message)))
    })
}
