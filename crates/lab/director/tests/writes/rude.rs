//! A server that does not answer.

use std::{cell::Cell, rc::Rc};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufStream},
    net::{TcpListener, TcpStream},
};

/// Answers `/info` and nothing else. Returns its URL, and the number of other requests.
pub(crate) async fn rude(stands_still: bool) -> (String, Rc<Cell<u32>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Rc::new(Cell::new(0));
    let count = Rc::clone(&asked);
    actix_rt::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            let count = Rc::clone(&count);
            actix_rt::spawn(async move {
                let mut connection = BufStream::new(connection);
                while head(&mut connection).await.is_some_and(|head| head.starts_with("GET /info ")) {
                    let info = r#"{"name":"rude","uuid":"u","version":"0","user":null,"user_authentication":{"type":"basic"}}"#;
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{info}", info.len());
                    connection.write_all(answer.as_bytes()).await.unwrap();
                    connection.flush().await.unwrap();
                }
                count.set(count.get() + 1);
                if stands_still {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    (url, asked)
}

async fn head(connection: &mut BufStream<TcpStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if connection.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    Some(head)
}
