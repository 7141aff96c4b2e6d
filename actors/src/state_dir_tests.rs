use std::os::unix::fs::symlink;

use nix::{sys::stat::Mode, unistd::mkfifo};

use super::*;

fn refusal(directory: &Path) -> String {
    Report::new(&StateDir::claim(directory).unwrap_err()).to_string()
}

#[test]
fn a_directory_is_of_one_pilot_until_that_ends() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("deep/state");
    let first = StateDir::claim(&state).unwrap();
    assert_eq!(first.lack(), None);
    let sentence = refusal(&state);
    assert!(sentence.contains("another pilot uses it") && sentence.contains("deep/state/lock"), "{sentence}");
    drop(first);
    StateDir::claim(&state).unwrap();
}

#[test]
fn what_is_no_directory_or_no_lock_file_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
    symlink(at("loop"), at("loop")).unwrap();
    for name in ["fifo", "loop"] {
        assert!(refusal(&at(name)).starts_with(&format!("use {} as the state directory", at(name).display())));
    }
    fs::create_dir_all(at("a/lock")).unwrap();
    assert!(refusal(&at("a")).contains("Is a directory"));
    fs::create_dir(at("b")).unwrap();
    mkfifo(&at("b/lock"), Mode::S_IRWXU).unwrap();
    let sentence = refusal(&at("b"));
    assert!(sentence.contains("FIFO") || sentence.contains("No such device"), "{sentence}");
}

#[test]
fn a_disk_that_gives_no_lock_is_told_and_the_pilot_goes_on() {
    // No file can be created there.
    let claimed = StateDir::claim(Path::new("/sys/kernel")).unwrap();
    let lack = claimed.lack().unwrap();
    assert_eq!(lack.what, "state_dir");
    assert!(lack.reason.starts_with("/sys/kernel/lock cannot be locked: "), "{}", lack.reason);
}
