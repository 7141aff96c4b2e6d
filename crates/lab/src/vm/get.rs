//! The only HTTP request that the lab makes inside a VM: `GET` to the VM itself.

use std::{io, net::Ipv4Addr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Time for the whole exchange. The server is on the VM itself.
const PATIENCE: Duration = Duration::from_secs(3);
/// Number of bytes read of an answer.
const MOST: u64 = 4 << 20;

/// Status and body of `GET http://127.0.0.1:PORT/PATH`, or the error.
pub(super) async fn get(port: u16, path: &str) -> Result<(u16, String), String> {
    let answer = tokio::time::timeout(PATIENCE, exchange(port, path)).await;
    let bytes = match answer {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => return Err(format!("http://127.0.0.1:{port}{path}: {error}")),
        Err(_) => return Err(format!("http://127.0.0.1:{port}{path}: no answer within {} s", PATIENCE.as_secs())),
    };
    parse(&bytes).ok_or_else(|| format!("http://127.0.0.1:{port}{path}: the answer is no HTTP"))
}

/// Uses HTTP/1.0, so that the answer ends with the connection and is never chunked.
async fn exchange(port: u16, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MOST).read_to_end(&mut answer).await?;
    Ok(answer)
}

fn parse(answer: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_status_and_a_body() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(parse(answer), Some((200, "{}".to_owned())));
        assert_eq!(parse(b"HTTP/1.0 503 Service Unavailable\r\n\r\n"), Some((503, String::new())));
    }

    #[test]
    fn something_else_is_no_answer() {
        for wrong in [&b""[..], b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\n"] {
            assert_eq!(parse(wrong), None);
        }
    }
}
