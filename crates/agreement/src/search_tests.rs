//! Searches all interleavings of a few writers for one that breaks the agreement.
//!
//! Each writer wants an address for a service of its own, and all of them would choose the same one. A table lists the
//! services by address. Two tables that were used must agree on every address that both have: otherwise two services
//! have shared an address, or one has moved.

use std::collections::BTreeSet;

use stateright::{Checker, Model, Property};

use crate::{Decided, Ledger, News, Phase, Proposal, Row, Step};

/// The service at each address.
type Table = Vec<u8>;
type Log = BTreeSet<Row<Table>>;

/// What is searched.
#[derive(Clone, Debug)]
struct Search {
    writers: u8,
    slots: u64,
    rounds: u32,
    /// How many times a writer stops in the middle of a proposal and starts again.
    crashes: u8,
    /// How many times a writer comes back with an empty disk.
    losses: u8,
    /// How many times an operator deletes rows, and when.
    deletions: (u8, Deletions),
    /// The safeguard that is taken out.
    fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Deletions {
    /// While nobody proposes. Every writer reads the log again before the next proposal begins.
    BetweenProposals,
    AtAnyTime,
}

/// A safeguard that is taken out.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// A value is decided when all proposals are equal, without votes.
    NoVotes,
    /// A writer proposes its own value in the next round, although a vote commits to another.
    VotesForgotten,
    /// A writer that joins a later round proposes its own value there.
    JoinsWithOwnValue,
    /// A writer reads the log before its append was answered.
    ReadsTooEarly,
    /// A writer takes the log's latest version, although it knows a later one.
    GoesBack,
    /// A writer's ledger is not kept on disk.
    NoDisk,
    /// A new proposal does not wait until the writers have put back what was deleted.
    NoWaitAfterDeletion,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    writers: Vec<Writer>,
    log: Log,
    /// Rows on their way to the log. Each arrives at some time, or never.
    sent: Log,
    used: BTreeSet<Table>,
    crashes: u8,
    losses: u8,
    deletions: u8,
    forks: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Writer {
    ledger: Ledger<Table>,
    proposal: Option<Proposal<Table>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    Begin(usize),
    Read(usize),
    Arrive(Row<Table>),
    Crash(usize),
    LoseDisk(usize),
    Delete(Row<Table>),
    DeleteAll,
}

impl Search {
    fn of(writers: u8, slots: u64, rounds: u32) -> Self {
        let deletions = (0, Deletions::BetweenProposals);
        Self { writers, slots, rounds, crashes: 0, losses: 0, deletions, fault: None }
    }

    fn without(&self, fault: Fault) -> Self {
        Self { fault: Some(fault), ..self.clone() }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// The table that a writer wants: the known one with its own service at the next address.
    fn wanted(writer: usize, ledger: &Ledger<Table>) -> Option<Table> {
        let service = u8::try_from(writer).unwrap();
        let known = ledger.latest().map(|latest| latest.value.clone()).unwrap_or_default();
        (!known.contains(&service)).then(|| known.into_iter().chain([service]).collect())
    }

    fn may_begin(&self, state: &State, writer: usize) -> bool {
        let Writer { ledger, proposal } = &state.writers[writer];
        let settled = || {
            let restored = |writer: &Writer| !matches!(writer.ledger.compare(&state.log, ""), News::Lost(_));
            self.deletions.1 == Deletions::AtAnyTime || state.writers.iter().all(restored)
        };
        proposal.is_none()
            && ledger.next_slot() < self.slots
            && Self::wanted(writer, ledger).is_some()
            && (self.is(Fault::NoWaitAfterDeletion) || settled())
    }

    fn may_delete(&self, state: &State) -> bool {
        let quiet = || state.sent.is_empty() && state.writers.iter().all(|writer| writer.proposal.is_none());
        state.deletions > 0 && (self.deletions.1 == Deletions::AtAnyTime || quiet())
    }

    /// A writer reads the log and acts on it.
    fn read(&self, state: &mut State, at: usize) {
        let State { writers, log, sent, used, forks, .. } = state;
        let Writer { ledger, proposal } = &mut writers[at];
        let Some(attempt) = proposal else {
            match ledger.compare(log, &at.to_string()) {
                News::Same => {}
                News::Later(decided) => {
                    used.insert(decided.value.clone());
                    ledger.record(decided);
                }
                News::Lost(row) if self.is(Fault::GoesBack) => {
                    let left = log.iter().rfind(|left| left.phase == Phase::Decide && left.slot < row.slot);
                    *ledger = Ledger::new(left.map(|left| Decided { slot: left.slot, value: left.value.clone() }));
                }
                News::Lost(row) => _ = sent.insert(row),
                News::Forked(_) => *forks = 1,
            }
            return;
        };
        match self.advance(attempt, log, Self::wanted(at, ledger)) {
            Step::Append(row) | Step::AppendLater(row) => {
                if !log.contains(&row) {
                    sent.insert(row);
                }
            }
            Step::Decided(decided) => {
                used.insert(decided.value.clone());
                ledger.record(decided);
                *proposal = None;
            }
        }
    }

    fn advance(&self, proposal: &mut Proposal<Table>, log: &Log, own: Option<Table>) -> Step<Table> {
        let said = proposal.said.clone();
        let mut seen = log.clone();
        if self.is(Fault::ReadsTooEarly) {
            seen.extend(said.clone());
        }
        let mut step = proposal.advance(&seen);
        let (Step::Append(row) | Step::AppendLater(row)) = &mut step else { return step };
        let proposes_again = row.phase == Phase::Propose && said.as_ref().is_some_and(|said| said.round < row.round);
        let joins_late = row.phase == Phase::Propose && said.is_none() && row.round > 0;
        match (self.fault, own) {
            (Some(Fault::NoVotes), _) if row.phase == Phase::Commit => {
                return Step::Decided(Decided { slot: row.slot, value: row.value.clone() });
            }
            (Some(Fault::VotesForgotten), Some(own)) if proposes_again => row.value = own,
            (Some(Fault::JoinsWithOwnValue), Some(own)) if joins_late => row.value = own,
            _ => {}
        }
        proposal.said = Some(row.clone());
        step
    }
}

impl Model for Search {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let writer = Writer { ledger: Ledger::new(None), proposal: None };
        vec![State {
            writers: vec![writer; usize::from(self.writers)],
            log: Log::new(),
            sent: Log::new(),
            used: BTreeSet::new(),
            crashes: self.crashes,
            losses: self.losses,
            deletions: self.deletions.0,
            forks: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (writer, known) in state.writers.iter().enumerate() {
            actions.push(Action::Read(writer));
            if self.may_begin(state, writer) {
                actions.push(Action::Begin(writer));
            }
            let stops = known.proposal.is_some() || self.is(Fault::NoDisk);
            if state.crashes > 0 && stops {
                actions.push(Action::Crash(writer));
            }
            if state.losses > 0 && known.ledger.latest().is_some() {
                actions.push(Action::LoseDisk(writer));
            }
        }
        actions.extend(state.sent.iter().cloned().map(Action::Arrive));
        if self.may_delete(state) {
            actions.push(Action::DeleteAll);
            actions.extend(state.log.iter().cloned().map(Action::Delete));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Begin(at) => {
                let Writer { ledger, proposal } = &mut state.writers[at];
                *proposal = Some(Proposal::new(ledger.next_slot(), at.to_string(), Self::wanted(at, ledger)?));
            }
            Action::Read(at) => self.read(&mut state, at),
            Action::Arrive(row) => {
                state.sent.remove(&row);
                state.log.insert(row);
            }
            Action::Crash(at) => {
                state.crashes -= 1;
                state.writers[at].proposal = None;
                if self.is(Fault::NoDisk) {
                    state.writers[at].ledger = Ledger::new(None);
                }
            }
            Action::LoseDisk(at) => {
                state.losses -= 1;
                state.writers[at] = Writer { ledger: Ledger::new(None), proposal: None };
            }
            Action::Delete(row) => {
                state.deletions -= 1;
                state.log.remove(&row);
            }
            Action::DeleteAll => {
                state.deletions -= 1;
                state.log.clear();
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no service shares an address or moves", |_, state: &State| {
                let mut tables = state.used.iter();
                let mut before = tables.next();
                // Sorted tables of which each begins with the one before begin with every earlier one.
                tables.all(|table| before.replace(table).is_none_or(|before| table.starts_with(before)))
            }),
            Property::sometimes("every slot is decided", |search, state: &State| {
                state.writers.iter().all(|writer| writer.ledger.next_slot() == search.slots)
            }),
        ]
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.log.iter().chain(&state.sent).all(|row| row.round < self.rounds)
    }
}

/// Searches everything, and prints how much that was. Returns the interleaving that breaks the agreement, if any.
fn search(search: Search) -> Option<String> {
    let shown = format!("{search:?}");
    let checker = search.checker().spawn_bfs().join();
    let broken = checker.discovery("no service shares an address or moves");
    let found = if broken.is_some() { "BROKEN" } else { "holds" };
    println!("{found}  {:>9} states  {shown}", checker.unique_state_count());
    if broken.is_none() {
        checker.discovery("every slot is decided").expect("the search reaches a decision of every slot");
    }
    broken.map(|path| format!("{:#?}", path.into_actions()))
}

/// Minutes and gigabytes: `BOSHY_SEARCH_LARGE=1 cargo test --release -p boshy-agreement -- --nocapture`.
fn large() -> Vec<Search> {
    let deletions = (2, Deletions::BetweenProposals);
    vec![
        Search { crashes: 1, ..Search::of(3, 1, 2) },
        Search { crashes: 2, losses: 1, ..Search::of(2, 2, 2) },
        Search { crashes: 1, deletions, ..Search::of(2, 2, 2) },
        Search::of(3, 2, 1),
    ]
}

#[test]
fn writers_that_compete_crash_and_lose_their_disks_never_use_tables_that_contradict() {
    let small = vec![
        Search::of(2, 2, 3),
        Search { crashes: 1, ..Search::of(2, 2, 2) },
        Search { losses: 1, ..Search::of(2, 2, 2) },
        Search::of(3, 1, 2),
    ];
    let cases = if std::env::var_os("BOSHY_SEARCH_LARGE").is_some() { large() } else { small };
    for case in cases {
        assert_eq!(search(case), None);
    }
}

#[test]
fn what_an_operator_deletes_between_proposals_comes_back() {
    let deletions = (2, Deletions::BetweenProposals);
    assert_eq!(search(Search { deletions, ..Search::of(2, 2, 2) }), None);
}

#[test]
fn what_an_operator_deletes_during_a_proposal_can_break_the_agreement() {
    let deletions = (3, Deletions::AtAnyTime);
    assert!(search(Search { deletions, ..Search::of(2, 1, 1) }).is_some());
}

#[test]
fn each_safeguard_is_needed() {
    let crashing = Search { crashes: 1, ..Search::of(2, 2, 3) };
    let deleted = Search { deletions: (1, Deletions::BetweenProposals), ..Search::of(2, 2, 2) };
    for (fault, case) in [
        (Fault::NoVotes, Search::of(2, 1, 2)),
        (Fault::VotesForgotten, Search::of(2, 1, 3)),
        (Fault::JoinsWithOwnValue, crashing),
        (Fault::ReadsTooEarly, Search::of(2, 1, 1)),
        (Fault::GoesBack, deleted.clone()),
        (Fault::NoDisk, Search { crashes: 1, ..deleted.clone() }),
        (Fault::NoWaitAfterDeletion, deleted),
    ] {
        assert!(search(case.without(fault)).is_some(), "{fault:?}");
    }
}
