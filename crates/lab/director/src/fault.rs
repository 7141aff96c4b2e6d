//! Injected faults.

use std::time::Duration;

use super::{
    DirectorError,
    request::{Answer, Kind, Request},
};

/// A fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An answer with this status and no useful body.
    Status(u16),
    /// A redirect with this status and location.
    Redirect(u16, String),
    /// The answer is delayed.
    Delay(Duration),
    /// The connection ends in the middle of the body.
    TruncatedBody,
    /// The body is not JSON.
    NotJson,
    /// Answers as if the deployment had just been deleted.
    Gone,
    /// An empty list instead of the actual one.
    EmptyList,
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
            Self::Body(text) => Answer { body: text.clone().into_bytes(), ..answer },
            Self::Huge(bytes) => Answer { body: vec![b' '; *bytes], ..answer },
            Self::Delay(_) | Self::TruncatedBody | Self::ConnectionRefused => answer,
        }
    }
}
