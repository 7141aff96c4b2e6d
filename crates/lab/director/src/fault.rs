//! What goes wrong on purpose.

use std::time::Duration;

use super::{
    DirectorError,
    request::{Answer, Kind, Request},
};

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A status, with no body worth reading.
    Status(u16),
    /// Sent elsewhere, with a status and a place.
    Redirect(u16, String),
    /// The answer comes late.
    Delay(Duration),
    /// The connection ends in the middle of the body.
    TruncatedBody,
    /// A body that is no JSON.
    NotJson,
    /// As if the deployment had been deleted a moment ago.
    Gone,
    /// An empty list instead of what there is.
    EmptyList,
    /// This body instead of what there is.
    Body(String),
    /// A body of another size, in bytes of JSON.
    Huge(usize),
    /// Nobody listens. Concerns all requests, and every connection there is ends.
    ConnectionRefused,
}

/// A fault with the requests it hits.
#[derive(Clone, Debug)]
pub(super) struct Injected {
    pub(super) fault: Fault,
    /// Route that it hits, or method and path of one request; none for all.
    route: Option<String>,
    /// How many requests it hits yet; none for all.
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

    /// The faults that hit a request.
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
    /// Spoils an answer, as far as that is a matter of its content.
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
