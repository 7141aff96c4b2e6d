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

fn handlers(entries: &[(&str, SocketAddr)]) -> Handlers {
    let entries: Vec<_> = entries
        .iter()
        .map(|(domain, server)| serde_json::json!({"domain": domain, "source": {"type": "dns", "recursors": [server]}}))
        .collect();
    Handlers::read(&serde_json::Value::from(entries).to_string()).unwrap()
}

/// What is answered when the handler's server answers `upstream`.
async fn answered(name: &str, upstream: io::Result<Vec<u8>>) -> Vec<u8> {
    let handlers = handlers(&[("boshy.", ([127, 0, 0, 1], 1).into())]);
    answer(&question(name), &handlers, |_, _| async { upstream }).await.unwrap()
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
    let handlers = handlers(&[("boshy.", ([127, 0, 0, 1], 1).into())]);
    let silence = answer(&question("a.boshy"), &handlers, |_, _| std::future::pending()).await.unwrap();
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
    let none = Handlers::default();
    let ask = |_, _| async { unreachable!("nobody is to be asked") };
    assert!(answer(&[1, 2, 3], &none, ask).await.is_none());
    assert!(answer(&upstream("a.boshy", 0), &none, ask).await.is_none(), "an answer was answered");
    let whole = question("a.boshy");
    for length in HEADER_BYTES..whole.len() {
        assert_eq!(answer(&whole[..length], &none, ask).await.unwrap()[3] & 0x0f, FORMERR, "{length} bytes");
    }
}

const HEADER_BYTES: usize = 12;

#[test]
fn the_longest_domain_answers() {
    let (short, long) = (SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 1], 2)));
    let handlers = handlers(&[("Boshy", short), ("inner.boshy.", long)]);
    assert_eq!(handlers.find("a.boshy."), Some(short));
    assert_eq!(handlers.find("boshy."), Some(short));
    assert_eq!(handlers.find("a.inner.boshy."), Some(long));
    assert_eq!(handlers.find("notinner.boshy."), Some(short));
    assert_eq!(handlers.find("aboshy."), None);
}

#[test]
fn a_handler_that_cannot_be_served_is_refused_by_name() {
    let wrong = [
        (r#"[{"domain":"boshy.","source":{"type":"http","url":"http://x"}}]"#, "type http"),
        (r#"[{"domain":"boshy.","source":{"type":"dns","recursors":[]}}]"#, "no recursor"),
        (r#"[{"domain":"boshy.","source":{"type":"dns","recursors":["x y"]}}]"#, "no address"),
    ];
    for (text, reason) in wrong {
        let error = Handlers::read(text).unwrap_err();
        assert!(error.contains("boshy.") && error.contains(reason), "{error}");
    }
}
