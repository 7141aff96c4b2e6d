//! Injected faults.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    DirectorError,
    request::{Answer, Kind, Request},
};

/// A fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// An answer with this status and no useful body.
    Status(u16),
    /// A redirect with this status and location.
    Redirect(u16, String),
    /// The answer is delayed.
    Delay(Duration),
    /// A stored config becomes visible late, after a random part of this time, and is answered then. As with a director
    /// of several processes, other posts are checked and stored meanwhile, and one of them may become visible first.
    LateConfig(Duration),
    /// The connection ends in the middle of the body.
    TruncatedBody,
    /// The body is not JSON.
    NotJson,
    /// Answers as if the deployment had just been deleted.
    Gone,
    /// An empty list instead of the actual one.
    EmptyList,
    /// The actual list of instances, without their addresses.
    NoAddresses,
    /// The actual list without this number of rows at its beginning, which are an event list's newest.
    WithoutFirst(usize),
    /// This body instead of the actual one.
    Body(String),
    /// A body of this size, in bytes of JSON.
    Huge(usize),
    /// The port refuses connections. This affects all requests, and every open connection ends.
    ConnectionRefused,
}

/// A fault with the requests that it affects.
#[derive(Clone, Debug)]
pub(super) struct Injected {
    pub(super) fault: Fault,
    /// The route, or method and path of one request; `None` for all.
    route: Option<String>,
    /// Number of requests that it will still affect; `None` for all.
    left: Option<u32>,
}

#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Injected>);

impl Faults {
    pub(super) fn inject(&mut self, fault: Fault, route: Option<&str>, times: Option<u32>) {
        self.0.push(Injected { fault, route: route.map(str::to_owned), left: times });
    }

    pub(super) fn heal(&mut self) {
        self.0.clear();
    }

    /// The faults that affect a request.
    pub(super) fn hit(&mut self, route: &str, request: &Request) -> Vec<Fault> {
        let request = format!("{} {}", request.method, request.path);
        let mut hit = Vec::new();
        for injected in &mut self.0 {
            let is_meant = injected.route.as_deref().is_none_or(|meant| meant == route || meant == request);
            if injected.left != Some(0) && is_meant {
                injected.left = injected.left.map(|left| left - 1);
                hit.push(injected.fault.clone());
            }
        }
        hit
    }
}

impl Fault {
    /// Applies the fault to an answer, as far as it concerns the content.
    pub(super) fn spoil(&self, answer: Answer) -> Answer {
        match self {
            Self::Status(status) => Answer::text(*status, Kind::Html, ""),
            Self::Redirect(status, location) => {
                Answer { location: Some(location.clone()), ..Answer::text(*status, Kind::Html, "") }
            }
            Self::Gone => DirectorError::no_deployment("asked for").into(),
            Self::NotJson => Answer { body: b"<html>maintenance</html>".to_vec(), ..answer },
            Self::EmptyList => Answer { body: b"[]".to_vec(), ..answer },
            Self::NoAddresses => Answer { body: without_addresses(&answer.body), ..answer },
            Self::WithoutFirst(count) => Answer { body: without_first(*count, &answer.body), ..answer },
            Self::Body(text) => Answer { body: text.clone().into_bytes(), ..answer },
            Self::Huge(bytes) => Answer { body: vec![b' '; *bytes], ..answer },
            Self::Delay(_) | Self::LateConfig(_) | Self::TruncatedBody | Self::ConnectionRefused => answer,
        }
    }
}

/// A list of instances, each with an empty list of addresses. Any other body stays as it is.
fn without_addresses(body: &[u8]) -> Vec<u8> {
    let Ok(mut rows) = serde_json::from_slice::<Value>(body) else { return body.to_vec() };
    for row in rows.as_array_mut().into_iter().flatten() {
        if let Some(addresses) = row.get_mut("ips") {
            *addresses = Value::Array(Vec::new());
        }
    }
    rows.to_string().into_bytes()
}

/// A list without its first rows. Any other body stays as it is.
fn without_first(count: usize, body: &[u8]) -> Vec<u8> {
    let Ok(Value::Array(rows)) = serde_json::from_slice(body) else { return body.to_vec() };
    Value::Array(rows.into_iter().skip(count).collect()).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_loses_its_first_rows_and_nothing_else() {
        let list = |text| Fault::WithoutFirst(2).spoil(Answer::text(200, Kind::Html, text)).body;
        assert_eq!(list(r#"[{"id":"9"},{"id":"8"},{"id":"7"}]"#), br#"[{"id":"7"}]"#);
        assert_eq!((list("[1]"), list("{}")), (b"[]".to_vec(), b"{}".to_vec()));
    }

    #[test]
    fn instances_lose_their_addresses_and_nothing_else() {
        let rows = br#"[{"job":"db","ips":["10.0.0.1"]},{"job":"web","ips":[]}]"#;
        let answer = Fault::NoAddresses.spoil(Answer::text(200, Kind::Html, std::str::from_utf8(rows).unwrap()));
        assert_eq!(answer.body, br#"[{"job":"db","ips":[]},{"job":"web","ips":[]}]"#);
        let other = Fault::NoAddresses.spoil(Answer::text(200, Kind::Html, "no JSON"));
        assert_eq!(other.body, b"no JSON");
    }
}
