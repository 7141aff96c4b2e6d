//! Decides which ports of this VM are captured: what arrives there from outside is led to Envoy.
//!
//! A port is captured once Envoy has accepted its listeners, and no longer when they go. What happens while there is no
//! Envoy is the port's own choice: an open one is reached directly, a closed one is refused.

use std::{net::SocketAddrV4, sync::Arc};

use boshy_mesh::{Fallback, Ingress};
use boshy_netfilter::{Pairs, Ports};

/// A port that is to be captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) at: SocketAddrV4,
    pub(crate) ingress: Ingress,
    /// Whether all connected Envoys have accepted its listeners, and there is one.
    pub(crate) accepted: bool,
}

/// The VM's Envoy, as far as this process knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Envoy {
    Connected,
    /// It still serves who is connected, and is about to accept nobody else.
    Stopping,
    /// It was connected before, or had time enough to connect.
    Gone,
    /// This process has just begun, and Envoy may be about to connect again.
    NotYet,
}

/// What is to be in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Captures {
    /// The captured ports.
    pub(crate) captured: Arc<Pairs>,
    /// Those that are closed to everything but the capture.
    pub(crate) closed: Ports,
    /// Whether any program is to see the addresses of callers, or sees those of callers that a stopping Envoy still serves.
    pub(crate) original_src: bool,
}

/// What is to be in the kernel, by what is there.
pub(crate) fn captures(places: &[Place], in_place: &Pairs, envoy: Envoy) -> Captures {
    let is_captured = |place: &&Place| match (place.ingress.fallback, envoy) {
        (Fallback::Closed, _) | (Fallback::Open, Envoy::Connected | Envoy::NotYet) => {
            place.accepted || in_place.contains(&place.at)
        }
        (Fallback::Open, Envoy::Stopping | Envoy::Gone) => false,
    };
    let captured: Vec<_> = places.iter().filter(is_captured).collect();
    // Answers of programs to whom a stopping Envoy still serves need their way back.
    let mut back = places.iter().filter(|place| envoy == Envoy::Stopping || captured.contains(place));
    let closed = captured.iter().filter(|place| place.ingress.fallback == Fallback::Closed);
    Captures {
        closed: closed.map(|place| place.at.port()).collect(),
        original_src: back.any(|place| place.ingress.original_src),
        captured: Arc::new(captured.into_iter().map(|place| place.at).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "10.0.0.5:9000";

    fn place(fallback: Fallback, accepted: bool) -> Place {
        Place { at: AT.parse().unwrap(), ingress: Ingress { fallback, original_src: false }, accepted }
    }

    fn is_captured(place: Place, in_place: bool, envoy: Envoy) -> bool {
        let in_place = in_place.then(|| AT.parse().unwrap()).into_iter().collect();
        !captures(&[place], &in_place, envoy).captured.is_empty()
    }

    #[test]
    fn a_port_is_captured_once_envoy_has_accepted_it_and_not_before() {
        for fallback in [Fallback::Open, Fallback::Closed] {
            assert!(!is_captured(place(fallback, false), false, Envoy::Connected), "{fallback:?}");
            assert!(is_captured(place(fallback, true), false, Envoy::Connected), "{fallback:?}");
        }
    }

    #[test]
    fn without_envoy_an_open_port_is_let_go_and_a_closed_one_is_not() {
        assert!(!is_captured(place(Fallback::Open, false), true, Envoy::Gone));
        assert!(is_captured(place(Fallback::Closed, false), true, Envoy::Gone));
        assert!(!is_captured(place(Fallback::Closed, false), false, Envoy::Gone), "it was never captured");
    }

    #[test]
    fn an_open_port_is_let_go_before_envoy_stops_but_for_the_way_back_of_those_whom_it_still_serves() {
        let of = |fallback, envoy| {
            let ingress = Ingress { fallback, original_src: true };
            let place = Place { ingress, ..place(fallback, envoy == Envoy::Stopping) };
            let Captures { captured, original_src, .. } = captures(&[place], &[place.at].into(), envoy);
            (!captured.is_empty(), original_src)
        };
        assert_eq!(of(Fallback::Open, Envoy::Stopping), (false, true));
        assert_eq!(of(Fallback::Open, Envoy::Gone), (false, false));
        for envoy in [Envoy::Stopping, Envoy::Gone] {
            assert_eq!(of(Fallback::Closed, envoy), (true, true), "{envoy:?}");
        }
    }

    #[test]
    fn a_captured_port_stays_so_while_envoy_has_not_answered_yet() {
        // A change of its listener, a second Envoy that takes over, an agent that has been started again.
        for envoy in [Envoy::Connected, Envoy::NotYet] {
            assert!(is_captured(place(Fallback::Open, false), true, envoy), "{envoy:?}");
        }
    }

    #[test]
    fn what_is_to_be_captured_no_more_goes_at_once() {
        let in_place = [AT.parse().unwrap()].into();
        assert_eq!(captures(&[], &in_place, Envoy::Connected), Captures::default());
    }

    #[test]
    fn only_closed_ports_are_closed_and_only_while_they_are_captured() {
        let closed = place(Fallback::Closed, true);
        let of = |place| captures(&[place], &Pairs::new(), Envoy::Connected).closed;
        assert_eq!(of(closed), [9000].into());
        assert_eq!(of(place(Fallback::Open, true)), [].into());
        assert_eq!(of(Place { accepted: false, ..closed }), [].into());
    }
}
