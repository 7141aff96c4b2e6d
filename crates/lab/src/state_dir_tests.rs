use super::*;

#[test]
fn a_directory_with_files_of_others_is_never_cleared() {
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("precious"), "x").unwrap();
    let error = StateDir::new(Some(host.path())).unwrap().claim().unwrap_err();
    assert!(error.to_string().contains("holds files that are not a lab's"), "{error}");
    assert!(!StateDir::new(Some(host.path())).unwrap().remove().unwrap());
    assert!(host.path().join("precious").exists());
}

#[test]
fn a_lab_that_died_leaves_a_directory_that_the_next_one_clears() {
    let host = tempfile::tempdir().unwrap();
    let state = StateDir::new(Some(&host.path().join("lab"))).unwrap();
    let lock = state.claim().unwrap().unwrap();
    fs::create_dir_all(state.path().join("vms/d/g/0")).unwrap();
    assert!(state.claim().unwrap().is_none(), "a second lab got the directory of a running one");
    drop(lock);
    let _lock = state.claim().unwrap().unwrap();
    assert!(!state.path().join("vms").exists());
}

#[test]
fn a_lab_that_is_down_leaves_nothing() {
    let host = tempfile::tempdir().unwrap();
    let state = StateDir::new(Some(&host.path().join("lab"))).unwrap();
    drop(state.claim().unwrap());
    assert!(state.remove().unwrap());
    assert!(!state.path().exists());
    assert!(!state.remove().unwrap());
}
