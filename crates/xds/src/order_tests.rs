//! Tests the table against a proxy that applies what it is sent and answers some time later.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const SERVICES: [u8; 3] = [0, 1, 2];
/// A resource of the first type refers to one of the second: it is removed before it.
const REFERENCES: [(ResourceType, ResourceType); 7] = [
    (Names, Listener),
    (Listener, Cluster),
    (Listener, Route),
    (Route, Cluster),
    (Cluster, Endpoints),
    (Cluster, Secret),
    (Listener, Secret),
];
/// Of these, the resource that is referred to is there first, and its addition is answered. The agent decides when it
/// answers a name, and Envoy when it uses a cluster.
const BEFORE: [(ResourceType, ResourceType); 3] = [(Listener, Cluster), (Listener, Route), (Route, Cluster)];

type Services = BTreeSet<u8>;

#[derive(Clone, Debug)]
enum Step {
    Want(Services),
    Send(ResourceType),
    Answer(ResourceType),
}

fn pacing() -> impl Strategy<Value = Pacing> {
    prop::sample::select(vec![Pacing::Answered, Pacing::Sent])
}

/// A stream whose proxy has, of each type, some services' resources.
#[derive(Default)]
struct Stream {
    pacing: Pacing,
    want: Services,
    has: [Services; TABLE.len()],
    unanswered: [Services; TABLE.len()],
    asked: [bool; TABLE.len()],
}

impl Stream {
    fn new(pacing: Pacing, had: &Services, asked: bool) -> Self {
        let has = std::array::from_fn(|_| had.clone());
        Self { pacing, want: had.clone(), has, asked: [asked; TABLE.len()], ..Self::default() }
    }

    fn progress(&self, kind: ResourceType) -> Option<Progress> {
        let (want, has) = (&self.want, &self.has[kind.index()]);
        let pending = Turn { additions: !want.is_subset(has), withdrawals: !has.is_subset(want) };
        let unanswered = !self.unanswered[kind.index()].is_empty();
        self.asked[kind.index()].then_some(Progress { pending, unanswered })
    }

    /// Sends what the table allows. Returns whether that was anything.
    fn send(&mut self, kind: ResourceType) -> bool {
        let Some(Progress { pending, .. }) = self.progress(kind) else { return false };
        let turn = Row::of(kind).turn(|kind| Some(self.progress(kind)?.paced(self.pacing)));
        let mut sent = false;
        for service in SERVICES {
            let (wanted, had) = (self.want.contains(&service), self.has[kind.index()].contains(&service));
            if wanted && !had && turn.additions && pending.additions {
                self.check_added(kind, service);
                self.has[kind.index()].insert(service);
            } else if had && !wanted && turn.withdrawals && pending.withdrawals {
                self.check_removed(kind, service);
                self.has[kind.index()].remove(&service);
            } else {
                continue;
            }
            self.unanswered[kind.index()].insert(service);
            sent = true;
        }
        sent
    }

    fn check_added(&self, kind: ResourceType, service: u8) {
        for (_, used) in BEFORE.into_iter().filter(|(user, _)| *user == kind) {
            let answered = self.pacing == Pacing::Sent || !self.unanswered[used.index()].contains(&service);
            let there = self.has[used.index()].contains(&service) && answered;
            assert!(there || !self.asked[used.index()], "{kind:?} {service} without its {used:?}");
        }
    }

    fn check_removed(&self, kind: ResourceType, service: u8) {
        for (user, _) in REFERENCES.into_iter().filter(|(_, used)| *used == kind) {
            assert!(!self.has[user.index()].contains(&service), "{kind:?} {service} went before its {user:?}");
        }
    }

    fn answer(&mut self, kind: ResourceType) -> bool {
        !std::mem::take(&mut self.unanswered[kind.index()]).is_empty()
    }

    fn ask(&mut self, kind: ResourceType) {
        self.asked[kind.index()] = true;
    }

    fn finish(&mut self) {
        let mut busy = true;
        while busy {
            let sent = ResourceType::ALL.map(|kind| self.send(kind));
            let answered = ResourceType::ALL.map(|kind| self.answer(kind));
            busy = sent.into_iter().chain(answered).any(|any| any);
        }
        for (kind, has) in ResourceType::ALL.into_iter().zip(&self.has) {
            assert_eq!(*has, self.want, "{kind:?} waits forever");
        }
    }
}

fn services() -> impl Strategy<Value = Services> {
    prop::collection::btree_set(prop::sample::select(SERVICES.to_vec()), 0..=SERVICES.len())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = || prop::sample::select(ResourceType::ALL.to_vec());
    let step = prop_oneof![
        1 => services().prop_map(Step::Want),
        4 => kind().prop_map(Step::Send),
        3 => kind().prop_map(Step::Answer)
    ];
    prop::collection::vec(step, 0..60)
}

fn run(stream: &mut Stream, steps: Vec<Step>) {
    for step in steps {
        match step {
            Step::Want(services) => stream.want = services,
            Step::Send(kind) => drop(stream.send(kind)),
            Step::Answer(kind) => drop(stream.answer(kind)),
        }
    }
}

proptest! {
    #[test]
    fn no_resource_is_without_what_it_refers_to(pacing in pacing(), had in services(), steps in steps()) {
        let mut stream = Stream::new(pacing, &had, true);
        run(&mut stream, steps);
        stream.finish();
    }

    #[test]
    fn a_proxy_that_asks_for_the_types_one_by_one_loses_nothing_that_is_in_use(
        pacing in pacing(),
        had in services(),
        steps in prop::collection::vec(steps(), TABLE.len()),
    ) {
        let mut stream = Stream::new(pacing, &had, false);
        for (kind, steps) in ResourceType::ALL.into_iter().zip(steps) {
            stream.ask(kind);
            run(&mut stream, steps);
        }
        stream.finish();
    }
}

#[test]
fn every_url_and_every_noun_is_of_one_type() {
    for (place, row) in TABLE.iter().enumerate() {
        assert!(TABLE[place + 1..].iter().all(|other| other.url != row.url && other.noun != row.noun));
        assert_eq!(ResourceType::from_url(row.url), Some(row.kind));
    }
}
