//! Every way in which a power cut, a disk that refuses and a flipped bit can meet changes, on a simulated file system.

use std::collections::BTreeSet;

use super::*;
use crate::{
    Format, SealError,
    simulated::{Fault, Image, Safeguard, Simulated},
    twofold::Found,
};

const FORMAT: Format = Format { name: "boshy-example", version: 1 };
const FILE: &str = "/store/state";

/// What a process writes.
#[derive(Clone, Copy, Debug)]
enum Write {
    Whole(&'static str),
    Change(&'static str),
}

use Write::{Change, Whole};

/// The second whole state is the same as one before, and its edition is not.
const HISTORY: [Write; 7] = [Whole("a"), Change("b"), Change("cd"), Whole("a"), Change("e"), Change("f"), Whole("ab")];

fn at() -> &'static Path {
    Path::new(FILE)
}

/// Writes these until one fails. Returns the number of those that were acknowledged.
fn write(disk: &Simulated, history: &[Write]) -> usize {
    write_on(disk, &mut None, history)
}

fn write_on(disk: &Simulated, end: &mut Option<End>, history: &[Write]) -> usize {
    for (number, write) in history.iter().enumerate() {
        let written = match write {
            Whole(text) => whole(disk, at(), &FORMAT.seal(format!("{number}{text}").as_bytes())),
            Change(text) => append(disk, at(), end.expect("first all is written"), text.as_bytes()),
        };
        match written {
            Ok(now) => *end = Some(now),
            Err(_) => return number,
        }
    }
    history.len()
}

/// What a reader has after so many of the writes.
fn state(history: &[Write], count: usize) -> Option<String> {
    let written = history[..count].iter().fold(String::new(), |state, write| match write {
        Whole(text) => (*text).to_owned(),
        Change(text) => state + text,
    });
    (count > 0).then_some(written)
}

fn found(image: &Image) -> Result<Option<String>, String> {
    let disk = Simulated::of(image);
    let text = |octets: &[u8]| {
        let whole = String::from_utf8(FORMAT.unseal(octets)?.to_vec()).expect("a text was written");
        let changes = changes(&disk, at(), octets);
        let changes = changes.into_iter().map(|change| String::from_utf8(change).expect("a text was written"));
        Ok::<_, SealError>(changes.fold(whole[1..].to_owned(), |state, change| state + &change))
    };
    let found = twofold::read(&disk, at(), text).map_err(|error| error.to_string())?;
    Ok(found.map(|Found { value, .. }| value))
}

fn store() -> Image {
    [("/store".into(), None)].into()
}

/// Cuts the power at every step of the writes after the first ones, which meet no fault. Returns what is wrong with a
/// disk that is left, if anything.
fn search(first: usize, without: Option<Safeguard>) -> Result<usize, String> {
    let (before, mut end) = (Simulated::of(&store()), None);
    write_on(&before, &mut end, &HISTORY[..first]);
    let disk = || Simulated::of(&before.image()).without(without);
    let unhurt = disk();
    assert_eq!(write_on(&unhurt, &mut end.clone(), &HISTORY[first..]), HISTORY.len() - first);
    let mut checked = 0;
    for step in 0..unhurt.steps() {
        for done in [true, false] {
            let disk = disk().with(step, Fault::PowerCut { done });
            let acknowledged = first + write_on(&disk, &mut end.clone(), &HISTORY[first..]);
            for image in disk.after_a_power_cut() {
                let (old, new) = (state(&HISTORY, acknowledged), state(&HISTORY, acknowledged + 1));
                let value = found(&image);
                if value != Ok(old) && value != Ok(new) {
                    return Err(format!("{value:?} after {acknowledged} writes and at step {step}: {image:?}"));
                }
                checked += 1;
            }
        }
    }
    Ok(checked)
}

fn flips(image: &Image) -> impl Iterator<Item = Image> {
    let files = image.iter().filter_map(|(name, octets)| Some((name.clone(), octets.as_ref()?.len())));
    files.flat_map(|(name, length)| (0..length * 8).map(move |bit| (name.clone(), bit))).map(|(name, bit)| {
        let mut image = image.clone();
        let octets = image.get_mut(&name).and_then(Option::as_mut).expect("it is a file");
        octets[bit / 8] ^= 1 << (bit % 8);
        image
    })
}

#[test]
fn a_power_cut_at_any_step_leaves_the_state_before_or_after_it() {
    let checked = search(0, None).unwrap();
    assert!(checked > 1_000, "{checked}");
}

#[test]
fn a_flipped_bit_anywhere_costs_nothing_that_was_acknowledged() {
    for count in 1..=HISTORY.len() {
        let disk = Simulated::of(&store());
        write(&disk, &HISTORY[..count]);
        let [image] = &disk.after_a_power_cut().into_iter().collect::<Vec<_>>()[..] else { panic!("all is flushed") };
        let wanted = state(&HISTORY, count);
        assert!(flips(image).all(|flipped| found(&flipped).as_ref() == Ok(&wanted)), "after {count} writes");
    }
}

#[test]
fn each_safeguard_is_missed_when_it_is_taken_out() {
    for safeguard in [Safeguard::FlushedContent, Safeguard::FlushedNames] {
        assert!(search(1, Some(safeguard)).is_err(), "nothing is lost without {safeguard:?}");
    }
    let disk = Simulated::of(&store()).without(Some(Safeguard::Copy));
    write(&disk, &HISTORY[..2]);
    let image = disk.image();
    let wrong = flips(&image).filter(|flipped| {
        let records = Path::new("/store/state.changes");
        flipped[records] != image[records] && found(flipped) != Ok(state(&HISTORY, 2))
    });
    assert!(wrong.count() > 0, "nothing is lost without a copy of the changes");
}

#[test]
fn a_disk_that_refuses_a_change_has_the_state_before_or_after_it_and_takes_all_again() {
    let unhurt = Simulated::of(&store());
    write(&unhurt, &HISTORY[..2]);
    let whole_only = Simulated::of(&store());
    write(&whole_only, &HISTORY[..1]);
    for step in whole_only.steps()..unhurt.steps() {
        let disk = Simulated::of(&store()).with(step, Fault::Refused { done: step % 2 == 0 });
        assert_eq!(write(&disk, &HISTORY[..2]), 1);
        let left: BTreeSet<_> = disk.after_a_power_cut().iter().map(found).collect();
        assert!(left.is_subset(&[Ok(state(&HISTORY, 1)), Ok(state(&HISTORY, 2))].into()), "{left:?}");
        whole(&disk, at(), &FORMAT.seal(b"9new")).unwrap();
        let left: BTreeSet<_> = disk.after_a_power_cut().iter().map(found).collect();
        assert_eq!(left, [Ok(Some("new".to_owned()))].into());
    }
}

#[tokio::test]
async fn what_was_appended_is_read_by_the_next_process_and_there_is_room_for_a_part_of_the_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let read = async || {
        let decode = |content: &[u8], changes: Vec<Vec<u8>>| Ok::<_, SealError>((content.len(), changes));
        read_growing(&path, decode).await.unwrap()
    };
    let mut growing = Growing::default();
    assert!(!growing.has_room(0) && growing.append(&path, Vec::new()).await.is_err(), "nothing is written yet");
    growing.replace(&path, |edition| edition.to_string().repeat(100_000)).await.unwrap();
    growing.append(&path, b"one".to_vec()).await.unwrap();
    growing.append(&path, b"two".to_vec()).await.unwrap();
    let (length, changes) = read().await.unwrap();
    assert_eq!(changes, [b"one", b"two"]);
    assert!(growing.has_room(length / 5) && !growing.has_room(length / 3));
    growing.replace(&path, |_| "x".repeat(10)).await.unwrap();
    assert_eq!(read().await, Some((10, Vec::new())));
    assert!(growing.has_room(60_000) && !growing.has_room(70_000));
}
