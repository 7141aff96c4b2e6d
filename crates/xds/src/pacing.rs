//! Who waits for Envoy when resources change that depend on each other: the pilot, or the agent in between.
//!
//! An agent says in the headers of a request that it does. An older pilot ignores it, and goes on to wait.

use tonic::codegen::http::HeaderMap;

/// Header in which a proxy says when a response counts as over.
pub(crate) const HEADER: &str = "boshy-pacing";
/// Says that responses count as over when they are sent.
pub(crate) const SENT: &str = "sent";

/// When a response counts as over, so that the types after it in the order have their turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pacing {
    /// When the proxy has answered it. Envoy goes on to the next response before it uses what was in the last one.
    #[default]
    Answered,
    /// When it is sent. An agent takes responses in their order, and waits itself for the answers of its Envoy.
    Sent,
}

impl Pacing {
    /// What a proxy says. One that says nothing is waited for.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        if headers.get(HEADER).is_some_and(|value| value == SENT) { Self::Sent } else { Self::Answered }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_does_not_say_that_it_waits_itself_is_waited_for() {
        let saying = |value: Option<&'static str>| {
            let headers = value.map(|value| (HEADER.parse().unwrap(), value.parse().unwrap()));
            Pacing::of(&headers.into_iter().collect())
        };
        assert_eq!(saying(Some(SENT)), Pacing::Sent);
        for other in [None, Some(""), Some("answered"), Some("later")] {
            assert_eq!(saying(other), Pacing::Answered, "{other:?}");
        }
    }
}
