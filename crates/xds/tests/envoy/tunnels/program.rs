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
    task::JoinHandle,
    time::timeout,
};

/// Longer than Envoy tries.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a program says that speaks first.
pub(crate) const GREETING: &[u8; 8] = b"220 hi\r\n";

/// How a program behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Sends back what it receives.
    Echoes,
    /// Speaks first, then sends back what it receives.
    Greets,
    /// After a first octet, which it sends back: `0` for one that is sent data without end, any other for an echo.
    FloodsOnZero,
}

/// A program that accepts connections.
pub(crate) struct Program {
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Program {
    pub(crate) async fn start(at: SocketAddr, manner: Manner) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move { drop(serve(stream, manner).await) });
            }
        });
        Self { accepted, task }
    }

    /// Number of connections that it has seen.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, manner: Manner) -> io::Result<()> {
    if manner == Manner::Greets {
        stream.write_all(GREETING).await?;
    }
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
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
