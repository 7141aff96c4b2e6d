use http_body_util::StreamBody;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// What a client gets from a server that answers its one connection with these octets and closes it; and the request.
async fn got(answer: &'static [u8], max_body: usize) -> (Result<Response<Bytes>, HttpError>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/path?query", listener.local_addr().unwrap());
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        stream.write_all(answer).await.unwrap();
        drop(stream);
        String::from_utf8_lossy(&request[..length]).into_owned()
    };
    let client = HttpClient::plain(Duration::from_secs(5));
    let request = Request::get(url).body(whole("")).unwrap();
    tokio::join!(client.send(request, max_body), server)
}

#[tokio::test]
async fn an_answer_of_any_status_is_an_answer_and_redirects_are_not_followed() {
    let (answer, request) = got(b"HTTP/1.1 302 Found\r\nlocation: /other\r\ncontent-length: 2\r\n\r\nno", 2).await;
    let answer = answer.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["location"], &answer.body()[..]),
        (302, &"/other".parse().unwrap(), &b"no"[..])
    );
    assert!(request.starts_with("GET /path?query HTTP/1.1\r\nhost: 127.0.0.1:"), "{request}");
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_whether_or_not_its_length_is_announced() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nyes",
    ] {
        assert_eq!(&got(answer, 3).await.0.unwrap().body()[..], b"yes");
        assert!(matches!(got(answer, 2).await.0, Err(HttpError::TooLarge { limit: 2 })));
    }
}

#[tokio::test]
async fn a_connection_that_ends_too_early_is_broken() {
    for answer in [&b""[..], b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nyes"] {
        let error = got(answer, 9).await.0.unwrap_err();
        assert!(matches!(error, HttpError::Broken(_)), "{error:?}");
    }
    let error = got(b"SSH-2.0-OpenSSH_9\r\n\r\n", 9).await.0.unwrap_err();
    assert!(matches!(error, HttpError::Other(_)), "{error:?}");
}

#[tokio::test]
async fn where_nobody_listens_the_cause_is_the_systems() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let request = Request::get(format!("http://127.0.0.1:{port}")).body(whole("")).unwrap();
    let error = HttpClient::plain(Duration::from_secs(5)).send(request, 9).await.unwrap_err();
    let HttpError::Connect(source) = error else { panic!("{error:?}") };
    assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_request_whose_body_cannot_be_read_is_no_missing_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let unreadable = futures::stream::iter([Err(io::Error::from(io::ErrorKind::StorageFull))]);
    let body = RequestBody::new(StreamBody::new(unreadable));
    let request = Request::post(format!("http://{}", listener.local_addr().unwrap())).body(body).unwrap();
    let error = HttpClient::plain(Duration::from_secs(5)).send(request, 9).await.unwrap_err();
    assert!(
        matches!(&error, HttpError::Unreadable(source) if source.kind() == io::ErrorKind::StorageFull),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_server_at_a_unix_socket_is_asked_over_a_connection_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.sock");
    let ask = || send_to_socket(&path, Request::get("/ready").body(whole("")).unwrap(), 4);
    assert!(matches!(ask().await, Err(HttpError::Connect(_))));
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    for (answer, wanted) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nLIVE", Some("LIVE")),
        ("HTTP/1.1 200 OK\r\n\r\nLIVE", Some("LIVE")),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nALIVE", None),
        ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nLI", None),
        ("", None),
    ] {
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        };
        let (answer, request) = tokio::join!(ask(), server);
        assert_eq!(answer.ok().map(Response::into_body).as_deref(), wanted.map(str::as_bytes));
        assert_eq!(request, "GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n");
    }
}
