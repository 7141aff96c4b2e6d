//! What a channel holds as the messages of an actor.

use futures::{Stream, stream};
use tokio::sync::watch;

/// What a channel holds, and whatever it holds later. A fresh life is told first what there is.
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
