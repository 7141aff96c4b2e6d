use super::*;

/// A question for an A record.
fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    message
}

fn names(entries: &[(&str, SocketAddr)]) -> Names {
    let entries: Vec<_> = entries
        .iter()
        .map(|(domain, server)| serde_json::json!({"domain": domain, "source": {"type": "dns", "recursors": [server]}}))
        .collect();
    names_of(Handlers::read(&serde_json::Value::from(entries).to_string()).unwrap())
}

fn names_of(handlers: Handlers) -> Names {
    Names { handlers, records: watch::channel(Arc::default()).1 }
}

/// What is answered when the handler's server answers `upstream`.
async fn answered(name: &str, upstream: io::Result<Vec<u8>>) -> Vec<u8> {
    let names = names(&[("boshy.", ([127, 0, 0, 1], 1).into())]);
    answer(&question(name), &names, LARGEST, |_, _| async { upstream }).await.unwrap()
}

fn upstream(name: &str, code: u8) -> Vec<u8> {
    let mut answer = question(name);
    answer[2] |= 0x84;
    answer[3] = code;
    answer
}

#[tokio::test]
async fn a_success_is_passed_on_as_it_is() {
    let success = upstream("a.boshy", 0);
    assert_eq!(answered("a.boshy", Ok(success.clone())).await, success);
}

#[tokio::test(start_paused = true)]
async fn every_failure_upstream_becomes_nxdomain() {
    let failures = [
        Ok(upstream("a.boshy", 2)),
        Ok(upstream("a.boshy", 3)),
        Ok(vec![1]),
        Err(io::ErrorKind::ConnectionRefused.into()),
    ];
    for failure in failures {
        let answer = answered("a.boshy", failure).await;
        assert_eq!(answer[..2], [0xab, 0xcd]);
        assert_eq!((answer[2], answer[3]), (0x81, 0x83));
        assert_eq!(answer[12..], question("a.boshy")[12..]);
    }
    let names = names(&[("boshy.", ([127, 0, 0, 1], 1).into())]);
    let silence = answer(&question("a.boshy"), &names, LARGEST, |_, _| std::future::pending()).await.unwrap();
    assert_eq!(silence[3] & 0x0f, NXDOMAIN);
}

#[tokio::test]
async fn what_no_handler_claims_is_refused() {
    for name in ["example.com", "notboshy", "boshy.example.com", ""] {
        assert_eq!(answered(name, Ok(upstream(name, 0))).await[3] & 0x0f, REFUSED, "{name}");
    }
}

#[tokio::test]
async fn what_is_no_question_gets_no_answer_and_half_a_question_formerr() {
    let none = names_of(Handlers::default());
    let ask = |_, _| async { unreachable!("nobody is to be asked") };
    assert!(answer(&[1, 2, 3], &none, LARGEST, ask).await.is_none());
    assert!(answer(&upstream("a.boshy", 0), &none, LARGEST, ask).await.is_none(), "an answer was answered");
    let whole = question("a.boshy");
    for length in HEADER_BYTES..whole.len() {
        assert_eq!(answer(&whole[..length], &none, LARGEST, ask).await.unwrap()[3] & 0x0f, FORMERR, "{length} bytes");
    }
}

const HEADER_BYTES: usize = 12;

#[test]
fn the_longest_domain_answers() {
    let (short, long) = (SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 1], 2)));
    let names = names(&[("Boshy", short), ("inner.boshy.", long)]);
    let find = |name: &str| match names.handlers.find(name) {
        Some(Upstream::Dns(server)) => Some(*server),
        _ => None,
    };
    assert_eq!(find("a.boshy."), Some(short));
    assert_eq!(find("boshy."), Some(short));
    assert_eq!(find("a.inner.boshy."), Some(long));
    assert_eq!(find("notinner.boshy."), Some(short));
    assert_eq!(find("aboshy."), None);
}

#[test]
fn a_handler_that_cannot_be_served_is_refused_by_name() {
    let wrong = [
        (r#"[{"domain":"boshy.","source":{"type":"deny"}}]"#, "type deny"),
        (r#"[{"domain":"boshy.","source":{"type":"http","url":"https://x"}}]"#, "https://x"),
        (r#"[{"domain":"boshy.","source":{"type":"dns","recursors":[]}}]"#, "no recursor"),
        (r#"[{"domain":"boshy.","source":{"type":"dns","recursors":["x y"]}}]"#, "no address"),
    ];
    for (text, reason) in wrong {
        let error = Handlers::read(text).unwrap_err();
        assert!(error.contains("boshy.") && error.contains(reason), "{error}");
    }
}

/// Names with a server on this machine that answers one question over HTTP with `body`. Also returns the first line of
/// that question.
async fn over_http(status: &'static str, body: &'static str) -> (Names, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 1024];
        let length = client.read(&mut request).await.unwrap();
        client.write_all(format!("HTTP/1.1 {status}\r\n\r\n{body}").as_bytes()).await.unwrap();
        String::from_utf8_lossy(&request[..length]).lines().next().unwrap_or_default().to_owned()
    });
    let handler = serde_json::json!([{"domain": "boshy.", "source": {"type": "http", "url": url}}]);
    (names_of(Handlers::read(&handler.to_string()).unwrap()), asked)
}

async fn nobody(_: SocketAddr, _: Vec<u8>) -> io::Result<Vec<u8>> {
    unreachable!("nobody is to be asked by DNS")
}

#[tokio::test]
async fn a_handler_over_http_answers_with_addresses() {
    let body = r#"{"TC":false,"Answer":[{"name":"x","type":1,"TTL":7,"data":"169.254.200.7"}]}"#;
    let (names, asked) = over_http("200 OK", body).await;
    let answer = answer(&question("A.boshy"), &names, UDP_ROOM, nobody).await.unwrap();
    assert_eq!(asked.await.unwrap(), "GET /?name=a.boshy.&type=1 HTTP/1.0");
    assert_eq!((answer[3] & 0x0f, answer[7]), (0, 1));
    assert_eq!(answer[answer.len() - 10..], [0, 0, 0, 7, 0, 4, 169, 254, 200, 7]);
}

#[tokio::test]
async fn a_failure_over_http_becomes_servfail() {
    let (names, _) = over_http("500 Internal Server Error", "").await;
    let answer = answer(&question("a.boshy"), &names, UDP_ROOM, nobody).await.unwrap();
    assert_eq!(answer[3] & 0x0f, SERVFAIL);
}

#[tokio::test]
async fn names_of_bosh_are_answered_from_the_records() {
    let file = r#"{"record_keys": ["id", "instance_group", "group_ids", "network", "deployment", "ip", "domain"],
        "record_infos": [["x", "web", ["3"], "default", "shop", "10.0.1.3", "bosh"]]}"#;
    let records = watch::channel(Arc::new(Records::read(file).unwrap())).1;
    let names = Names { handlers: Handlers::default(), records };
    let answer = async |question: &[u8]| answer(question, &names, UDP_ROOM, nobody).await.unwrap();
    let found = answer(&question("q-s0.web.default.shop.bosh")).await;
    assert_eq!((found[2] & 0x04, found[3] & 0x0f, found[7]), (0x04, 0, 1));
    assert_eq!(found[found.len() - 10..], [0, 0, 0, 0, 0, 4, 10, 0, 1, 3]);

    let mut for_ipv6 = question("q-s0.web.default.shop.bosh");
    let kind = for_ipv6.len() - 3;
    for_ipv6[kind] = 28;
    let nothing = answer(&for_ipv6).await;
    assert_eq!((nothing[3] & 0x0f, nothing[7]), (0, 0), "an existing name of another type is NODATA");
    assert_eq!(answer(&question("q-s0.db.default.shop.bosh")).await[3] & 0x0f, NXDOMAIN);
    let up = answer(&question("upcheck.bosh-dns")).await;
    assert_eq!(up[up.len() - 4..], [127, 0, 0, 1]);
}

#[test]
fn rfc1035_4_2_1_an_answer_over_udp_is_cut_at_512_bytes() {
    let question = question("a.bosh");
    let Some(Ok(query)) = Query::parse(&question) else { panic!("a question was not read") };
    let addresses: Vec<_> = (0..40).map(|last| (Ipv4Addr::new(10, 0, 0, last), 0)).collect();
    let cut = query.addresses(&addresses, UDP_ROOM);
    assert!(cut.len() <= UDP_ROOM && cut.len() > UDP_ROOM - 16 && cut[2] & 0x02 != 0);
    let whole = query.addresses(&addresses, LARGEST);
    assert_eq!((whole[7], whole[2] & 0x02), (40, 0));
}
