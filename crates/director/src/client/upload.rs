//! A file as a body that is read while it is sent. The time-out applies to a lack of progress.

use std::{
    io,
    path::Path,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use boshy_http_client::RequestBody;
use futures::{Stream, TryStreamExt};
use http::{HeaderValue, header};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::{fs::File, io::AsyncReadExt, time::Instant};

use super::{
    Cause,
    exchange::{Answer, Exchange, Head},
};

/// Number of bytes read from a file at a time and sent within one time-out.
const PIECE: u64 = 64 << 10;

/// A body of known length that is read while it is sent.
pub(super) struct Pieces {
    length: u64,
    pieces: Pin<Box<dyn Stream<Item = io::Result<Vec<u8>>> + Send>>,
}

/// When the last piece was taken.
#[derive(Clone)]
struct Moved(Arc<Mutex<Instant>>);

impl Moved {
    fn now() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn set(&self, moment: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = moment;
    }

    fn get(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exchange {
    /// Like [`Exchange::send_once`], but the time-out applies to a lack of progress: it restarts with each piece taken
    /// from the body, and after the last piece the answer has the full time.
    pub(super) async fn send_pieces(&self, head: &Head<'_>, body: Pieces) -> Result<Answer, Cause> {
        let moved = Moved::now();
        let frames = watched(body.pieces, moved.clone()).map_ok(|piece| Frame::data(piece.into()));
        let mut request = head.with_body(RequestBody::new(StreamBody::new(frames)))?;
        request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.length));
        unless_still(self.timeout, &moved, self.answer_to(request)).await.unwrap_or_else(|| Err(self.too_late()))
    }
}

/// A file as a body that is read while it is sent. If the file shrinks in the meantime, that is an error; if it grows,
/// the additional bytes are not sent.
pub(super) async fn pieces(file: &Path) -> io::Result<Pieces> {
    let file = File::open(file).await?;
    let length = file.metadata().await?.len();
    let pieces = futures::stream::try_unfold((file, length), async |(mut file, left)| {
        let mut piece = vec![0; usize::try_from(left.min(PIECE)).unwrap_or_default()];
        file.read_exact(&mut piece).await?;
        let left = left - piece.len() as u64;
        Ok((!piece.is_empty()).then_some((piece, (file, left))))
    });
    Ok(Pieces { length, pieces: Box::pin(pieces) })
}

/// Records the time whenever a piece is taken.
fn watched<S: Stream>(pieces: S, moved: Moved) -> impl Stream<Item = S::Item> {
    futures::StreamExt::inspect(pieces, move |_| moved.set(Instant::now()))
}

/// The result of some work; `None` when nothing has progressed for the time-out.
async fn unless_still<T>(timeout: Duration, moved: &Moved, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    loop {
        let deadline = moved.get() + timeout;
        match tokio::time::timeout_at(deadline, &mut work).await {
            Ok(result) => return Some(result),
            Err(_) if moved.get() + timeout > deadline => {}
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    /// Number of bytes sent of a file that changes its size in the meantime.
    async fn sent_of(announced: u64, by_then: u64) -> io::Result<usize> {
        let file = tempfile::NamedTempFile::new()?;
        file.as_file().set_len(announced)?;
        let body = pieces(file.path()).await?;
        assert_eq!(body.length, announced);
        file.as_file().set_len(by_then)?;
        let pieces: Vec<Vec<u8>> = body.pieces.try_collect().await?;
        assert!(pieces.iter().all(|piece| (1..=PIECE).contains(&(piece.len() as u64))));
        Ok(pieces.iter().map(Vec::len).sum())
    }

    #[tokio::test]
    async fn as_much_is_sent_as_was_announced_or_nothing_is_said_to_be_whole() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
            assert_eq!(sent_of(length, length).await.unwrap() as u64, length);
            assert_eq!(sent_of(length, length + 7).await.unwrap() as u64, length);
        }
        assert_eq!(sent_of(3 * PIECE, PIECE).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    /// Sends ten pieces with a pause before each, and one before the answer. Returns the outcome and its time.
    async fn sent(before_each: u64, before_answer: u64) -> (Option<&'static str>, u64) {
        let begin = Instant::now();
        let moved = Moved::now();
        let mut pieces = Box::pin(watched(futures::stream::iter(0..10), moved.clone()));
        let work = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(before_each)).await;
                pieces.next().await;
            }
            tokio::time::sleep(Duration::from_secs(before_answer)).await;
            "answer"
        };
        (unless_still(Duration::from_secs(30), &moved, work).await, begin.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn sending_may_last_as_long_as_it_goes_on() {
        assert_eq!(sent(29, 0).await, (Some("answer"), 290));
        assert_eq!(sent(31, 0).await, (None, 30));
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_has_the_whole_time_out_after_the_last_piece() {
        assert_eq!(sent(1, 29).await, (Some("answer"), 39));
        assert_eq!(sent(1, 31).await, (None, 40));
    }
}
