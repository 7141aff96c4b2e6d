//! A proxy sends arbitrary messages to a session, while its resources change. The resources that it is sent exist, fit
//! into a message and can be parsed. Once it accepts all responses, the session comes to rest.
#![no_main]

use std::sync::Arc;

use boshy_fuzz::Input;
use boshy_xds::{
    Layer, Pacing, Resource, ResourceSet, ResourceType, TypedResources,
    session::server::{Action, Channel, Delta, ProxyReport, ResponseToProxy, Session, Sotw, identify},
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use libfuzzer_sys::fuzz_target;
use prost::Message;

const TYPES: usize = ResourceType::ALL.len();
const NAMES: [&str; 5] = ["a", "b", "c", "virtual", "*"];
/// Maximum number of unanswered responses of one type.
const WINDOW: usize = 4;
/// Octets of the largest message: no resource here is larger than a message may be, and names cost most when they are
/// short.
const LARGEST: usize = 128 << 10;
/// Length to which texts are cut.
const LONGEST_TEXT: usize = 1024;

fuzz_target!(|octets: &[u8]| {
    let mut input = Input::new(octets);
    let kind = input.octet();
    let pacing = if kind & 2 == 0 { Pacing::Answered } else { Pacing::Sent };
    if kind & 1 == 0 { Proxy::<Delta>::run(input, pacing) } else { Proxy::<Sotw>::run(input, pacing) }
});

/// Differences between the two flavours.
trait Flavour: Channel {
    /// Whether a response may contain a removed resource while it is in use.
    const HOLDS_ON: bool;
    /// Gives a request a valid type and nonce.
    fn aim(request: &mut Self::Request, kind: ResourceType, nonce: &str);
    /// Resources and removed names in an encoded response.
    fn counts(response: &[u8]) -> (usize, usize);
}

impl Flavour for Delta {
    const HOLDS_ON: bool = false;

    fn aim(request: &mut DeltaDiscoveryRequest, kind: ResourceType, nonce: &str) {
        request.type_url = kind.url().to_owned();
        request.response_nonce = nonce.to_owned();
    }

    fn counts(response: &[u8]) -> (usize, usize) {
        let message = DeltaDiscoveryResponse::decode(response).expect("a response");
        (message.resources.len(), message.removed_resources.len())
    }
}

impl Flavour for Sotw {
    const HOLDS_ON: bool = true;

    fn aim(request: &mut DiscoveryRequest, kind: ResourceType, nonce: &str) {
        request.type_url = kind.url().to_owned();
        request.response_nonce = nonce.to_owned();
    }

    fn counts(response: &[u8]) -> (usize, usize) {
        (DiscoveryResponse::decode(response).expect("a response").resources.len(), 0)
    }
}

struct Proxy<C> {
    session: Session<C>,
    /// Its intended resources of each type, as far as they were ever known.
    target: [TypedResources; TYPES],
    /// Responses that it may answer.
    received: Vec<(ResourceType, String)>,
    last_nonce: u64,
}

impl<C: Flavour> Proxy<C> {
    fn run(mut input: Input<'_>, pacing: Pacing) {
        let set = set(&mut input);
        let mut proxy = Self {
            session: Session::new(Arc::default(), pacing),
            target: Default::default(),
            received: Vec::new(),
            last_nonce: 0,
        };
        proxy.retarget(set);
        while !input.is_empty() {
            if !proxy.step(&mut input) {
                return;
            }
        }
        proxy.come_to_rest();
    }

    /// One event. Returns false when the stream is closed.
    fn step(&mut self, input: &mut Input<'_>) -> bool {
        match input.octet() % 4 {
            0 => {
                let set = set(input);
                self.retarget(set);
                true
            }
            1 => match C::Request::decode(input.piece()) {
                Ok(request) => self.say(request),
                Err(_) => true,
            },
            2 => {
                let (kind, answered) = (input.pick(&ResourceType::ALL), usize::from(input.octet()));
                let nonce = self.received.iter().rev().nth(answered).map_or("", |(_, nonce)| nonce).to_owned();
                match C::Request::decode(input.piece()) {
                    Ok(mut request) => {
                        C::aim(&mut request, kind, &nonce);
                        self.say(request)
                    }
                    Err(_) => true,
                }
            }
            _ => self.received.pop().is_none_or(|(kind, nonce)| self.accept(kind, &nonce)),
        }
    }

    fn say(&mut self, request: C::Request) -> bool {
        if let Ok(node) = identify(&request) {
            assert!(node.as_str().len() <= LONGEST_TEXT);
        }
        let asked = request.encoded_len();
        match self.session.request(request) {
            Ok(actions) => {
                self.take(actions, asked);
                true
            }
            Err(close) => {
                assert!(!close.to_string().is_empty());
                false
            }
        }
    }

    fn accept(&mut self, kind: ResourceType, nonce: &str) -> bool {
        let mut request = C::Request::default();
        C::aim(&mut request, kind, nonce);
        self.say(request)
    }

    fn retarget(&mut self, set: ResourceSet) {
        for (kind, target) in ResourceType::ALL.into_iter().zip(&mut self.target) {
            if set.of(kind).is_known() {
                target.clone_from(set.of(kind));
            }
        }
        let actions = self.session.resources(Arc::new(set));
        self.take(actions, 0);
    }

    fn take(&mut self, actions: Vec<Action>, asked: usize) {
        let mut sent = 0;
        let mut reports = 0;
        for action in actions {
            match action {
                Action::Send(response) => {
                    sent += 1;
                    self.receive(response);
                }
                Action::Report(_, report) => {
                    reports += 1;
                    if let ProxyReport::Nacked { reason, .. } = report {
                        assert!(reason.len() <= LONGEST_TEXT);
                    }
                }
                Action::Ignore(url) => assert!(url.len() <= LONGEST_TEXT),
            }
        }
        assert!(sent <= WINDOW * TYPES, "{sent} responses at once");
        assert!(reports <= 2 + asked, "{reports} reports of {asked} octets");
    }

    fn receive(&mut self, response: ResponseToProxy) {
        let nonce = response.nonce.parse().expect("nonces are numbers");
        assert!(nonce > self.last_nonce, "nonce {nonce} after {}", self.last_nonce);
        self.last_nonce = nonce;

        let encoded = response.encoded().concat();
        assert!(encoded.len() <= LARGEST, "{} octets", encoded.len());
        assert_eq!(C::counts(&encoded), (response.resources.len(), response.removed.len()));

        let kind = response.kind;
        let place = ResourceType::ALL.iter().position(|other| *other == kind).expect("a type");
        let target = &self.target[place];
        assert!(target.is_known(), "{kind:?} is sent and not known");
        for resource in &response.resources {
            let current = target.get(&resource.name).is_some_and(|wanted| wanted.version == resource.version);
            let gone = target.get(&resource.name).is_none();
            assert!(current || (C::HOLDS_ON && gone), "{kind:?} {} is sent and does not exist", resource.name);
        }
        for name in &response.removed {
            assert!(target.get(name).is_none(), "{kind:?} {name} is removed and exists");
        }
        self.received.push((kind, response.nonce));
    }

    /// Once the proxy accepts everything, it is sent nothing more.
    fn come_to_rest(mut self) {
        let all = self.last_nonce + 1000;
        while let Some((kind, nonce)) = self.received.pop() {
            if !self.accept(kind, &nonce) {
                return;
            }
            assert!(self.last_nonce < all, "responses do not end");
        }
        assert!(!self.session.unanswered(), "a response is lost");
    }
}

/// A set, from one octet per type: 255 means not known; the low bits select the names, the others their layer and
/// edition.
fn set(input: &mut Input<'_>) -> ResourceSet {
    ResourceType::ALL.into_iter().fold(ResourceSet::default(), |set, kind| match input.octet() {
        255 => set,
        octet => set.with(kind, typed(kind, octet)),
    })
}

fn typed(kind: ResourceType, octet: u8) -> TypedResources {
    let (edition, own) = (octet >> 6, octet & 0x20 != 0);
    let names = NAMES.into_iter().enumerate().filter(|(bit, _)| octet >> bit & 1 == 1);
    let layer: Layer = names.map(|(_, name)| Resource::new(name, vec![edition; 100])).collect();
    let [lowest, above] = if own { [Layer::default(), layer] } else { [layer, Layer::default()] };
    TypedResources::new([lowest.shared(kind), above])
}
