//! What waits for the disk and what does not.

use boshy_mesh::Hostname;

use super::*;
use crate::{
    ResourceType,
    agent::relay::{Relay, RelaySettings},
    session::client::samples::{name, response, vip},
};

/// A state in which these names are answered.
fn state(names: &[(&str, u8)]) -> (Stored, NameTable) {
    let mut relay = Relay::new(RelaySettings { require_proxy: false, ..RelaySettings::default() }, Stored::default());
    let resources: Vec<_> = names.iter().map(|(host, last)| name(host, *last)).collect();
    let response = crate::session::client::ResponseFromPilot {
        complete: true,
        ..response(ResourceType::Names, "1", &resources, &[])
    };
    relay.receive(response, std::time::Instant::now(), &crate::AckStates::default());
    (relay.stored(), relay.answered())
}

fn answer(nonce: &str) -> RequestToPilot {
    RequestToPilot::Ack { type_url: ResourceType::Names.url().to_owned(), nonce: nonce.to_owned() }
}

struct Disk {
    commit: Commit,
    kept: Kept,
    names: Vec<String>,
    answers: Vec<RequestToPilot>,
}

impl Disk {
    fn new() -> Self {
        let state = Arc::<Stored>::default();
        let commit = Commit::new(Arc::clone(&state), Arc::default());
        Self { commit, kept: Kept::State(state), names: Vec::new(), answers: Vec::new() }
    }

    fn changes(&mut self, names: &[(&str, u8)], nonce: &str) {
        let (state, table) = state(names);
        let released = self.commit.change(state, Some(table), vec![answer(nonce)], &self.kept);
        self.note(released);
    }

    fn keeps(&mut self, kept: Kept) {
        self.kept = kept;
        let released = self.commit.release(&self.kept);
        self.note(released);
    }

    fn note(&mut self, released: Released) {
        if let Some(names) = released.names {
            self.names = names.iter().map(|(host, vip)| format!("{host} {vip}")).collect();
        }
        self.answers.extend(released.answers);
    }

    fn begins(&self) -> Kept {
        Kept::State(Arc::clone(self.commit.state()))
    }
}

fn answered(names: &[(&str, u8)]) -> Vec<String> {
    names.iter().map(|(host, last)| format!("{} {}", Hostname::parse(host).unwrap(), vip(*last))).collect()
}

#[test]
fn a_name_is_answered_and_the_pilot_told_once_both_are_on_disk() {
    let mut disk = Disk::new();
    disk.changes(&[("a.boshy", 1)], "1");
    assert_eq!((disk.names.len(), disk.answers.len(), disk.commit.waiting()), (0, 0, 1));
    disk.keeps(disk.begins());
    assert_eq!((&disk.names, &disk.answers), (&answered(&[("a.boshy", 1)]), &vec![answer("1")]));
    assert_eq!(disk.commit.waiting(), 0);
}

#[test]
fn what_comes_during_a_write_waits_for_the_next_which_takes_all_of_it() {
    let mut disk = Disk::new();
    disk.changes(&[("a.boshy", 1)], "1");
    let first = disk.begins();
    disk.changes(&[("a.boshy", 1), ("b.boshy", 2)], "2");
    disk.changes(&[("a.boshy", 1), ("b.boshy", 2), ("c.boshy", 3)], "3");
    disk.keeps(first);
    assert_eq!((&disk.names, disk.answers.len()), (&answered(&[("a.boshy", 1)]), 1));
    disk.keeps(disk.begins());
    assert_eq!(disk.names, answered(&[("a.boshy", 1), ("b.boshy", 2), ("c.boshy", 3)]));
    assert_eq!(disk.answers, [answer("1"), answer("2"), answer("3")]);
}

#[test]
fn a_name_that_goes_waits_for_nothing_and_does_not_come_back_with_an_older_write() {
    let mut disk = Disk::new();
    disk.changes(&[("a.boshy", 1), ("b.boshy", 2)], "1");
    disk.keeps(disk.begins());
    disk.changes(&[("a.boshy", 1), ("b.boshy", 2), ("c.boshy", 3)], "2");
    let older = disk.begins();
    disk.changes(&[("b.boshy", 2)], "3");
    assert_eq!(disk.names, answered(&[("b.boshy", 2)]));
    disk.keeps(older);
    assert_eq!(disk.names, answered(&[("b.boshy", 2)]));
    assert_eq!(disk.answers.len(), 2, "that it is gone is acknowledged once it is kept");
    disk.keeps(disk.begins());
    assert_eq!(disk.answers.len(), 3);
}

#[test]
fn a_name_with_another_address_is_out_until_that_is_kept() {
    let mut disk = Disk::new();
    disk.changes(&[("a.boshy", 1)], "1");
    disk.keeps(disk.begins());
    disk.changes(&[("a.boshy", 2)], "2");
    assert!(disk.names.is_empty());
    disk.keeps(disk.begins());
    assert_eq!(disk.names, answered(&[("a.boshy", 2)]));
}

#[test]
fn a_broken_disk_holds_up_nobody_and_a_mended_one_is_waited_for_again() {
    let mut disk = Disk::new();
    disk.changes(&[("a.boshy", 1)], "1");
    disk.keeps(Kept::Broken);
    disk.changes(&[("a.boshy", 1), ("b.boshy", 2)], "2");
    assert_eq!((disk.names.len(), disk.answers.len()), (2, 2));
    disk.keeps(disk.begins());
    disk.changes(&[("a.boshy", 1), ("b.boshy", 2), ("c.boshy", 3)], "3");
    assert_eq!((disk.names.len(), disk.answers.len()), (2, 2));
}

#[test]
fn what_changes_nothing_that_is_kept_is_answered_at_once() {
    let mut disk = Disk::new();
    disk.changes(&[("a.boshy", 1)], "1");
    disk.keeps(disk.begins());
    disk.changes(&[("a.boshy", 1)], "2");
    assert_eq!(disk.answers.len(), 2);
}

#[test]
fn answers_of_a_stream_that_ended_are_forgotten_and_names_are_not() {
    let mut disk = Disk::new();
    disk.changes(&[("a.boshy", 1)], "1");
    disk.commit.forget_answers();
    disk.keeps(disk.begins());
    assert_eq!((disk.names, disk.answers), (answered(&[("a.boshy", 1)]), vec![]));
}
