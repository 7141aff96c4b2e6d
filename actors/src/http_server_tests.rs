//! Tests the server by its messages alone; a client checks what is served.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use boshy_supervision::{ChildRef, ExitReason, Tree, TreeStatus};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    sync::watch,
    time::timeout,
};

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

fn says(word: &'static str) -> impl Fn(&mut ServiceConfig) + Send + Sync + 'static {
    move |config| {
        config.default_service(web::to(move || async move { HttpResponse::Ok().body(word) }));
    }
}

/// The body of an answer.
async fn read(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) -> String {
    let asked = async {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.rsplit_once("\r\n\r\n").unwrap().1.to_owned()
    };
    timeout(DEADLINE, asked).await.expect("nobody answers")
}

async fn asks(address: std::net::SocketAddr) -> String {
    read(TcpStream::connect(address).await.unwrap()).await
}

/// Runs a server that starts with these sites.
fn run<F: Future<Output = ()> + 'static>(
    sites: Vec<Site>,
    scenario: impl FnOnce(ChildRef<HttpServer>, watch::Receiver<Arc<TreeStatus>>) -> F,
) {
    actix::System::new().block_on(async {
        let mut tree = Tree::new("test");
        let server = tree.child("http_server", move |link| HttpServer::new(sites.clone(), link)).add();
        let status = tree.status();
        assert_eq!(tree.run_until(scenario(server, status)).await, ExitReason::Normal);
    });
}

#[test]
fn a_site_is_served_when_told_once_its_socket_is_free_and_beside_the_others() {
    run(Vec::new(), async |server, _| {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let port = ServerSocket::new(move || TcpListener::bind(address));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let unix = ServerSocket::of(UnixListener::bind(&path).unwrap());
        server.send(ServeSite(Site::new(HttpSocket::Tcp(port.clone()), says("late")))).await.unwrap();
        server.send(ServeSite(Site::new(HttpSocket::Unix(unix), says("local")))).await.unwrap();
        assert_eq!(read(UnixStream::connect(&path).await.unwrap()).await, "local");
        assert!(port.now().is_none());
        drop(taken);
        assert_eq!(timeout(DEADLINE, port.bound()).await.unwrap().local_addr().unwrap(), address);
        assert_eq!(asks(address).await, "late");
    });
}

#[test]
fn a_server_that_ends_is_a_fall_and_the_next_life_serves_what_it_begins_with() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    run(vec![Site::new(HttpSocket::Tcp(ServerSocket::of(socket)), says("again"))], async move |server, mut status| {
        for (restarts, ended, said) in [
            (1, Ok(()), "failed: an HTTP server ended"),
            (2, Err(io::Error::other("no memory")), "failed: serve HTTP: no memory"),
        ] {
            assert_eq!(asks(address).await, "again");
            // The life that handles this ends by it and does not answer.
            let _ = server.send(ServerEnded(ended)).await;
            let fallen = status.wait_for(|status| status.children[0].restarts == restarts);
            let fallen = timeout(DEADLINE, fallen).await.unwrap().unwrap().children[0].clone();
            assert_eq!(fallen.last_exit.as_deref(), Some(said));
        }
        assert_eq!(asks(address).await, "again");
        let bound = SocketBound { listener: Err(io::Error::other("no file")), configure: Arc::new(says("")) };
        let _ = server.send(bound).await;
        let fallen = status.wait_for(|status| status.children[0].restarts == 3);
        let fallen = timeout(DEADLINE, fallen).await.unwrap().unwrap().children[0].clone();
        assert_eq!(fallen.last_exit.as_deref(), Some("failed: hand a listener to an HTTP server: no file"));
    });
}
