use super::*;
use crate::Stage;

const SECOND: i64 = 1000;

fn host() -> Hostname {
    Hostname::parse("a.boshy").unwrap()
}

fn stages(stage: Stage) -> Stages {
    [(host(), 80, stage)].into_iter().collect()
}

fn moved() -> Moves {
    let mut moves = Moves::default();
    moves.published(&stages(Stage::Plain), &stages(Stage::Prepared), 7, Moment(0));
    moves
}

fn nobody(_: &str) -> bool {
    false
}

#[test]
fn a_move_is_settled_once_all_have_accepted_its_generation_and_a_moment_has_passed() {
    let mut moves = moved();
    let settled = |moves: &Moves| moves.is_settled(&host(), 80);
    assert!(!moves.look(nobody, |_| true, Moment(0)) && !settled(&moves), "it has only just been published");
    assert!(!moves.look(nobody, |generation| generation < 7, Moment(2 * SECOND)) && !settled(&moves));
    assert!(moves.look(nobody, |generation| generation <= 7, Moment(3 * SECOND)) && settled(&moves));
    assert!(!moves.look(nobody, |_| false, Moment(4 * SECOND)) && settled(&moves), "who comes later has all of it");
    assert!(!moves.is_late(&host(), 80));
}

#[test]
fn who_stays_silent_holds_a_move_back_for_a_time_only() {
    let mut moves = moved();
    let patience = PATIENCE.as_millis() as i64;
    assert!(!moves.look(nobody, |_| false, Moment(patience - 1)) && !moves.is_settled(&host(), 80));
    assert!(moves.look(nobody, |_| false, Moment(patience)));
    assert!(moves.is_settled(&host(), 80) && moves.is_late(&host(), 80) && moves.are_over());
}

#[test]
fn after_a_restart_those_who_were_there_are_awaited() {
    let known = stages(Stage::Closed);
    let start = || Moves::resumed(&known, 1, ["a".to_owned(), "b".to_owned()].into(), Moment(0));
    let mut moves = start();
    assert!(!moves.look(|id| id == "a", |_| true, Moment(5 * SECOND)), "b is not back");
    assert_eq!(moves.awaited(), &["b".to_owned()].into());
    assert!(moves.look(|id| id == "b", |_| true, Moment(6 * SECOND)) && moves.is_settled(&host(), 80));

    let mut moves = start();
    let back = RETURN.as_millis() as i64;
    assert!(!moves.look(nobody, |_| true, Moment(back - 1)));
    assert!(moves.look(nobody, |_| true, Moment(back)) && moves.is_settled(&host(), 80));
    assert!(moves.awaited().is_empty());
}

#[test]
fn what_has_not_moved_is_settled() {
    let mut moves = moved();
    moves.published(&stages(Stage::Prepared), &stages(Stage::Prepared), 8, Moment(SECOND));
    assert!(moves.look(nobody, |generation| generation == 7, Moment(2 * SECOND)), "the move is still that of 7");
    assert!(moves.is_settled(&Hostname::parse("b.boshy").unwrap(), 80));
}
