//! A director's answers: parsing, serialising and parsing again gives the same value. The first octet, a letter,
//! selects the type.
#![no_main]

use std::fmt::Debug;

use boshy_director::wire::{
    Config, ConfigConflict, ConfigDiff, ConfigPost, DeploymentRow, ErrorBody, Event, FullRow, Info, InstanceRow,
    JobInstance, Lock, ManifestBody, ManifestDiff, ReadInstances, Task, TaskEvent, Token, VmRow,
};
use boshy_mesh::Place;
use libfuzzer_sys::fuzz_target;
use secrecy::ExposeSecret;
use serde::{Serialize, de::DeserializeOwned};

const TYPES: [fn(&[u8]); 18] = [
    same::<Vec<Config>>,        // A
    same::<ConfigConflict>,     // B
    same::<ConfigDiff>,         // C
    same::<ConfigPost>,         // D
    same::<Vec<DeploymentRow>>, // E
    same::<ErrorBody>,          // F
    same::<Vec<Event>>,         // G
    same::<FullRow>,            // H
    same::<Info>,               // I
    instances,                  // J
    same::<JobInstance>,        // K
    same::<Vec<Lock>>,          // L
    same::<ManifestBody>,       // M
    same::<ManifestDiff>,       // N
    same::<Vec<Task>>,          // O
    same::<TaskEvent>,          // P
    token,                      // Q
    same::<Vec<VmRow>>,         // R
];

fuzz_target!(|octets: &[u8]| {
    if let Some((letter, body)) = octets.split_first() {
        TYPES[usize::from(letter.wrapping_sub(b'A')) % TYPES.len()](body);
    }
});

fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(body: &[u8]) {
    if let Ok(read) = serde_json::from_slice::<T>(body) {
        let written = serde_json::to_vec(&read).expect("what was read can be written");
        assert_eq!(serde_json::from_slice::<T>(&written).expect("what was written can be read"), read);
    }
}

/// Every row is an instance or a problem, and serialising gives the same rows.
fn instances(body: &[u8]) {
    let rows: Vec<InstanceRow> = serde_json::from_slice(body).unwrap_or_default();
    let readable: Vec<_> = rows.iter().map(|row| InstanceRow { unreadable: Vec::new(), ..row.clone() }).collect();
    let written = serde_json::to_vec(&readable).expect("what was read can be written");
    assert_eq!(serde_json::from_slice::<Vec<InstanceRow>>(&written).expect("what was written can be read"), readable);
    let count = rows.len();
    let read = ReadInstances::of(&Place::deployment("shop"), rows);
    assert!(read.instances.len() <= count && read.instances.len() + read.problems.len() >= count);
}

/// A token is never serialised, and its debug output contains no secrets.
fn token(body: &[u8]) {
    if let Ok(token) = serde_json::from_slice::<Token>(body) {
        let secret = token.access_token.expose_secret();
        assert!(secret.len() < 16 || !format!("{token:?}").contains(secret));
    }
}
