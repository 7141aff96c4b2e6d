//! A handler's source of type `http`: `GET URL/?name=NAME&type=TYPE`, answered in JSON, with one connection per
//! question.

use std::{io, net::Ipv4Addr};

use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Number of bytes read of an answer.
const MOST: u64 = 1 << 20;

/// URL of the source, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    host: String,
    port: u16,
    path: String,
}

/// The part of the answer that bosh-dns uses.
#[derive(Debug, Deserialize)]
struct Answers {
    #[serde(rename = "Answer", default)]
    answers: Vec<Answer>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(rename = "TTL")]
    ttl: u32,
    data: Ipv4Addr,
}

impl Endpoint {
    /// Parses `http://HOST[:PORT][/PATH]`. TLS is not supported.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let wrong = || format!("has the url {url:?}, which is not of the form http://HOST:PORT");
        let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
            None => (authority, 80),
        };
        if host.is_empty() || url.contains(|char: char| char.is_whitespace() || char.is_control()) {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port, path: path.trim_end_matches('/').to_owned() })
    }

    /// Asks for the addresses of a name, each with its time to live in seconds.
    ///
    /// # Errors
    /// When there is no answer of status 200 in the expected format.
    pub(super) async fn ask(&self, name: &str, kind: u16) -> io::Result<Vec<(Ipv4Addr, u32)>> {
        let Self { host, port, path } = self;
        let mut stream = TcpStream::connect((host.as_str(), *port)).await?;
        let slash = if path.is_empty() { "" } else { "/" };
        // HTTP/1.0, so that the answer ends with the connection and is never chunked.
        let request =
            format!("GET {slash}{path}/?name={}&type={kind} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n", escaped(name));
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MOST).read_to_end(&mut answer).await?;
        parse(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no answer of status 200 in JSON"))
    }
}

/// Escapes a name, which may contain any byte.
fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn parse(answer: &[u8]) -> Option<Vec<(Ipv4Addr, u32)>> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    if head.strip_prefix("HTTP/1.")?.split(' ').nth(1)? != "200" {
        return None;
    }
    // Requires an object: serde would also accept a list for a struct.
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(body).ok()?;
    let answers: Answers = serde_json::from_value(object.into()).ok()?;
    Some(answers.answers.into_iter().map(|answer| (answer.data, answer.ttl)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_host_a_port_and_a_path() {
        let endpoint = |host: &str, port, path: &str| Endpoint { host: host.into(), port, path: path.into() };
        assert_eq!(Endpoint::parse("http://127.0.0.1:8053"), Ok(endpoint("127.0.0.1", 8053, "")));
        assert_eq!(Endpoint::parse("http://local/names/"), Ok(endpoint("local", 80, "names")));
        for wrong in ["", "https://x", "http://:80", "http://x:y", "http://x/\r\nHost: y"] {
            assert!(Endpoint::parse(wrong).unwrap_err().contains("http://HOST:PORT"), "{wrong}");
        }
    }

    #[test]
    fn only_an_answer_of_status_200_counts() {
        let body = r#"{"TC":false,"Answer":[{"name":"a.","type":1,"TTL":7,"data":"1.2.3.4"}]}"#;
        let answer = |status: &str, body: &str| format!("HTTP/1.1 {status}\r\nA: b\r\n\r\n{body}").into_bytes();
        assert_eq!(parse(&answer("200 OK", body)), Some(vec![([1, 2, 3, 4].into(), 7)]));
        assert_eq!(parse(&answer("200 OK", r#"{"TC":false}"#)), Some(vec![]));
        assert_eq!(parse(&answer("404 Not Found", body)), None);
        assert_eq!(parse(&answer("200 OK", "[]")), None);
        assert_eq!(parse(b"SSH-2.0\r\n\r\n"), None);
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_the_request() {
        assert_eq!(escaped("a_b-c.boshy."), "a_b-c.boshy.");
        assert_eq!(escaped("a b&\r\n\u{e9}"), "a%20b%26%0D%0A%C3%A9");
    }

    proptest::proptest! {
        #[test]
        fn a_url_that_is_accepted_stays_in_the_first_lines_of_a_request(rest in "\\PC{0,12}|[a-z:/ \r\n]{0,12}") {
            if let Ok(Endpoint { host, path, .. }) = Endpoint::parse(&format!("http://{rest}")) {
                assert!(!host.is_empty() && !host.contains('/'));
                assert!(!format!("{host}{path}").contains(char::is_whitespace));
            }
        }

        #[test]
        fn whatever_a_server_says_is_an_answer_or_none(
            body in proptest::prelude::any::<String>(), ttl in proptest::prelude::any::<i64>(), data in "[0-9.]{0,9}",
        ) {
            parse(body.as_bytes());
            parse(format!("HTTP/1.1 200 OK\r\n\r\n{body}").as_bytes());
            let json = serde_json::json!({"Answer": [{"TTL": ttl, "data": data}]});
            let answer = parse(format!("HTTP/1.1 200 OK\r\n\r\n{json}").as_bytes());
            let right = u32::try_from(ttl).ok().zip(data.parse().ok()).map(|(ttl, data)| vec![(data, ttl)]);
            assert_eq!(answer, right);
        }
    }
}
