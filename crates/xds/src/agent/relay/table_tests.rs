//! An agent among pilots that share a table of leases and have different versions of it.

use proptest::{prelude::*, sample::Index};

use super::{test_support::*, *};
use crate::session::client::samples::response;

/// Pilots that can be reached.
const PILOTS: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Event {
    /// A pilot learns of later versions.
    Learns { pilot: Index, versions: u8 },
    /// A pilot starts again, and has published nothing yet.
    Restarts { pilot: Index },
    /// The agent opens a stream to a pilot.
    Opens { pilot: Index },
    /// The agent starts again, from its disk.
    AgentRestarts,
}

fn event() -> impl Strategy<Value = Event> {
    let pilot = any::<Index>;
    prop_oneof![
        3 => (pilot(), 1_u8..4).prop_map(|(pilot, versions)| Event::Learns { pilot, versions }),
        1 => pilot().prop_map(|pilot| Event::Restarts { pilot }),
        4 => pilot().prop_map(|pilot| Event::Opens { pilot }),
        1 => Just(Event::AgentRestarts),
    ]
}

/// A pilot has on its disk what it has agreed to, and publishes it a while after its start.
#[derive(Clone, Copy, Debug, Default)]
struct Pilot {
    agreed: u8,
    published: u8,
}

/// In each version the one name has another address, which shows by which version the agent answers.
struct World {
    pilots: [Pilot; PILOTS],
    latest: u8,
    relay: Relay,
    /// The state of the last start, to which changes were appended since.
    kept: Stored,
    /// The pilot of the open stream.
    connected: Option<usize>,
}

/// Without an Envoy, a name is answered at once.
fn relay(stored: Stored) -> Relay {
    Relay::new(RelaySettings { require_proxy: false, ..RelaySettings::default() }, stored)
}

impl World {
    fn new() -> Self {
        Self {
            pilots: Default::default(),
            latest: 0,
            relay: relay(Stored::default()),
            kept: Stored::default(),
            connected: None,
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Learns { pilot, versions } => {
                let pilot = pilot.index(PILOTS);
                let agreed = self.pilots[pilot].agreed + versions;
                self.pilots[pilot] = Pilot { agreed, published: agreed };
                self.latest = self.latest.max(agreed);
                if self.connected == Some(pilot) {
                    self.is_sent(agreed);
                }
            }
            Event::Restarts { pilot } => {
                let pilot = pilot.index(PILOTS);
                self.pilots[pilot].published = 0;
                self.connected.take_if(|connected| *connected == pilot);
            }
            Event::Opens { pilot } => {
                self.opens(pilot.index(PILOTS));
            }
            Event::AgentRestarts => {
                let stored = self.on_disk();
                (self.kept, self.relay, self.connected) = (stored.clone(), relay(stored), None);
            }
        }
    }

    fn on_disk(&self) -> Stored {
        let now = self.relay.stored();
        match now.encode_change(&self.kept) {
            Some(change) => Stored::decode_with(&self.kept.encode(), vec![change]).unwrap(),
            None => Stored::decode(&now.encode()).unwrap(),
        }
    }

    fn opens(&mut self, pilot: usize) {
        let Pilot { published, .. } = self.pilots[pilot];
        self.connected = None;
        if !table::is_older(Some(published.into()), self.relay.stored().table()) {
            self.connected = Some(pilot);
            self.is_sent(published);
        }
    }

    /// The pilot sends what the agent does not have.
    fn is_sent(&mut self, version: u8) {
        if version == 0 || self.shown() == version {
            return;
        }
        let mut names = response(ResourceType::Names, "1", &[name("a.boshy", version)], &[]);
        names.version = format!("{}0123abcd", table::label(version.into()));
        self.relay.receive(names, Instant::now(), &Proxy::default());
    }

    /// The version by which the agent answers.
    fn shown(&self) -> u8 {
        self.relay.answered().get("a.boshy").map_or(0, |vip| vip.octets()[3])
    }
}

proptest! {
    #[test]
    fn an_agent_never_answers_by_an_older_table_than_before(events in prop::collection::vec(event(), 1..40)) {
        let mut world = World::new();
        let mut before = 0;
        for event in events {
            world.happens(event);
            prop_assert!(world.shown() >= before, "{} after {before}: {event:?}", world.shown());
            before = world.shown();
        }
        // Whoever has the latest version serves it.
        if let Some(pilot) = world.pilots.iter().position(|pilot| pilot.published == world.latest) {
            world.opens(pilot);
            prop_assert_eq!(world.shown(), world.latest);
        }
    }
}

#[test]
fn a_pilot_with_a_table_of_its_own_is_not_older() {
    assert!(!table::is_older(None, Some(7)) && !table::is_older(Some(0), None) && !table::is_older(Some(7), Some(7)));
    assert!(table::is_older(Some(6), Some(7)) && table::is_older(Some(0), Some(1)));
    assert_eq!(table::of_names(&format!("{}abcd", table::label(7))), Some(7));
    assert_eq!((table::of_names("abcd"), table::of_names("x/abcd")), (None, None));
}
