//! Programs at both ends of tunnels, which know nothing of them.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

/// Longer than Envoy tries.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a program says that speaks first.
pub(crate) const GREETING: &[u8; 8] = b"220 hi\r\n";

/// What a program sends that closes then: more than anybody on the way holds.
pub(crate) const POURED: usize = 30_000_000;

/// How a program behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Sends back what it receives.
    Echoes,
    /// Speaks first, then sends back what it receives.
    Greets,
    /// Sends [`POURED`] octets and closes.
    Pours,
    /// Speaks first and closes for writing, then reads to the end.
    Shuts,
    /// After a first octet, which it sends back: `0` for one that is sent data without end, any other for an echo.
    FloodsOnZero,
}

/// A program that accepts connections.
pub(crate) struct Program {
    accepted: Arc<AtomicUsize>,
    heard: Arc<AtomicUsize>,
    closed: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Program {
    pub(crate) async fn start(at: SocketAddr, manner: Manner) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let heard = Arc::new(AtomicUsize::new(0));
        let (counter, octets) = (Arc::clone(&accepted), Arc::clone(&heard));
        let (closing, closed) = watch::channel(0);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::Relaxed);
                let (closing, octets) = (closing.clone(), Arc::clone(&octets));
                tokio::spawn(async move {
                    drop(serve(stream, manner, &octets).await);
                    closing.send_modify(|count| *count += 1);
                });
            }
        });
        Self { accepted, heard, closed, task }
    }

    /// Number of connections that it has seen.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Number of octets that it has received.
    pub(crate) fn heard(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }

    /// Waits until it has closed this number of connections.
    pub(crate) async fn has_closed(&self, count: usize) {
        let mut closed = self.closed.clone();
        let waited = timeout(PATIENCE, closed.wait_for(|closed| *closed >= count)).await;
        assert!(waited.is_ok(), "{} of {count} closed", *self.closed.borrow());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, manner: Manner, heard: &AtomicUsize) -> io::Result<()> {
    if matches!(manner, Manner::Greets | Manner::Shuts) {
        stream.write_all(GREETING).await?;
    }
    if manner == Manner::Shuts {
        stream.shutdown().await?;
    }
    if manner == Manner::Pours {
        return stream.write_all(&vec![b'0'; POURED]).await;
    }
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        heard.fetch_add(count, Ordering::Relaxed);
        if manner == Manner::Shuts {
            continue;
        }
        stream.write_all(&buffer[..count]).await?;
        if manner == Manner::FloodsOnZero && buffer[0] == b'0' {
            loop {
                stream.write_all(&[b'0'; 16 << 10]).await?;
            }
        }
    }
}

/// A program's connection that has been answered.
pub(crate) async fn connected(to: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(to).await?;
    asks(&mut stream).await?;
    Ok(stream)
}

/// A question and its answer.
pub(crate) async fn asks(stream: &mut TcpStream) -> io::Result<()> {
    let mut answer = [0; 8];
    let exchange = async {
        stream.write_all(b"question").await?;
        stream.read_exact(&mut answer).await
    };
    timeout(PATIENCE, exchange).await.map_err(|_| io::ErrorKind::TimedOut)??;
    assert_eq!(&answer, b"question");
    Ok(())
}

/// Number of octets until the end of a connection.
pub(crate) async fn drained(stream: &mut TcpStream) -> usize {
    let mut octets = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut octets)).await.unwrap().unwrap();
    octets.len()
}

/// Number of connections of `count`, some at a time, that fail.
pub(crate) async fn failures(to: SocketAddr, count: usize) -> usize {
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                let mut failed = 0;
                for _ in 0..count / 8 {
                    failed += usize::from(connected(to).await.is_err());
                }
                failed
            })
        })
        .collect();
    let mut failed = 0;
    for task in tasks {
        failed += task.await.unwrap();
    }
    failed
}
