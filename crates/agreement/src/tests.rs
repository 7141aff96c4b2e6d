use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

type Log = BTreeSet<Row<u8>>;

fn row(slot: u64, round: u32, writer: &str, phase: Phase, value: u8) -> Row<u8> {
    Row { slot, round, writer: writer.to_owned(), phase, value }
}

/// Runs a proposal until it is decided. Every append succeeds. Returns the decision and the number of appends.
fn run(mut proposal: Proposal<u8>, log: &mut Log) -> (Decided<u8>, usize) {
    for appends in 0.. {
        match proposal.advance(log) {
            Step::Append(row) | Step::AppendLater(row) => _ = log.insert(row),
            Step::Decided(decided) => return (decided, appends),
        }
    }
    unreachable!("the loop ends by a decision")
}

#[test]
fn a_writer_alone_decides_with_three_rows() {
    let mut log = Log::new();
    let decided = run(Proposal::new(7, "a", 1), &mut log);
    assert_eq!(decided, (Decided { slot: 7, value: 1 }, 3));
    let said: Vec<_> = log.iter().map(|row| row.phase).collect();
    assert_eq!(said, [Phase::Propose, Phase::Commit, Phase::Decide]);
}

#[test]
fn a_row_whose_append_was_lost_is_appended_again() {
    let (mut proposal, log) = (Proposal::new(0, "a", 1), Log::new());
    let first = proposal.advance(&log);
    assert_eq!(first, Step::Append(row(0, 0, "a", Phase::Propose, 1)));
    assert_eq!(proposal.advance(&log), first);
}

#[test]
fn a_writer_that_comes_later_helps_the_proposal_that_is_there() {
    let mut log = Log::from([row(0, 4, "a", Phase::Propose, 9)]);
    let (decided, _) = run(Proposal::new(0, "b", 1), &mut log);
    assert_eq!(decided.value, 9);
}

#[test]
fn of_two_proposals_of_a_round_the_smaller_is_adopted_after_a_pause() {
    let mut log = Log::new();
    let mut proposals = [Proposal::new(0, "a", 2), Proposal::new(0, "b", 1)];
    for _ in ["propose", "vote"] {
        let steps = proposals.each_mut().map(|proposal| proposal.advance(&log));
        for step in steps {
            let Step::Append(row) = step else { panic!("{step:?}") };
            log.insert(row);
        }
    }
    assert!(log.iter().filter(|row| row.phase == Phase::Adopt).all(|row| row.value == 1));
    let next = proposals[0].advance(&log);
    assert_eq!(next, Step::AppendLater(row(0, 1, "a", Phase::Propose, 1)));
}

#[test]
fn a_proposal_ends_when_a_later_slot_is_decided() {
    let log = Log::from([row(3, 0, "b", Phase::Decide, 5)]);
    let decided = Proposal::new(2, "a", 1).advance(&log);
    assert_eq!(decided, Step::Decided(Decided { slot: 3, value: 5 }));
}

#[test]
fn a_ledger_follows_the_log_and_never_goes_back() {
    let mut ledger = Ledger::new(None);
    let first = row(0, 0, "b", Phase::Decide, 5);
    assert_eq!(ledger.compare(&Log::new(), "a"), News::Same);
    assert_eq!(ledger.compare(&Log::from([first.clone()]), "a"), News::Later(Decided { slot: 0, value: 5 }));
    ledger.record(Decided { slot: 1, value: 6 });
    ledger.record(Decided { slot: 0, value: 5 });
    assert_eq!(ledger.latest(), Some(&Decided { slot: 1, value: 6 }));
    let lost = News::Lost(row(1, 0, "a", Phase::Decide, 6));
    assert_eq!(ledger.compare(&Log::from([first]), "a"), lost);
    assert_eq!(ledger.compare(&Log::new(), "a"), lost);
    let forked = Log::from([row(1, 0, "a", Phase::Decide, 6), row(1, 0, "b", Phase::Decide, 7)]);
    assert_eq!(ledger.compare(&forked, "a"), News::Forked(Decided { slot: 1, value: 7 }));
}

proptest! {
    /// Whatever three writers have left behind, stopped at any step, one that runs alone ends.
    #[test]
    fn a_writer_that_runs_alone_decides(schedule in prop::collection::vec((0..3usize, any::<bool>()), 0..40)) {
        let mut log = Log::new();
        let mut writers = ["a", "b", "c"].map(|name| Proposal::new(0, name, name.as_bytes()[0]));
        for (writer, arrives) in schedule {
            if let Step::Append(row) | Step::AppendLater(row) = writers[writer].advance(&log)
                && arrives
            {
                log.insert(row);
            }
        }
        let (decided, appends) = run(Proposal::new(0, "d", b'd'), &mut log);
        prop_assert!(appends <= 9, "{appends}");
        for writer in writers {
            prop_assert_eq!(&run(writer, &mut log).0, &decided);
        }
    }
}
