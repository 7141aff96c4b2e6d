//! What `docs/guarantees.md` promises is held by tests that exist.

use std::{collections::BTreeSet, fs, path::Path};

/// Names in backquotes of at least four words, as only tests have.
fn tests_in(text: &str) -> BTreeSet<&str> {
    let is_test = |name: &&str| {
        name.matches('_').count() >= 3 && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase())
    };
    text.split('`').skip(1).step_by(2).filter(is_test).collect()
}

/// Takes out the tests that are in the sources of a directory.
fn find(directory: &Path, missing: &mut BTreeSet<&str>) {
    for entry in fs::read_dir(directory).expect("a directory of the repository").flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            find(&path, missing);
        } else if name.ends_with(".rs") {
            let source = fs::read_to_string(path).expect("a source is a text");
            missing.retain(|test| !source.contains(&format!("fn {test}(")));
        }
    }
}

#[test]
fn each_promise_names_tests_and_they_exist() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(repository.join("docs/guarantees.md")).unwrap();
    let (promised, rest) = text.split_once("### The tests that hold them").unwrap();
    let (table, _) = rest.split_once("\n## ").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let held: BTreeSet<_> = rows.flat_map(|(numbers, _)| numbers.split(", ")).collect();
    let numbers: Vec<_> =
        promised.lines().filter_map(|line| line.split_once(". **")).map(|(number, _)| number).collect();
    assert!(numbers.len() >= 16, "{numbers:?}");
    assert_eq!(numbers.iter().find(|number| !held.contains(**number)), None);

    let mut missing = tests_in(&text);
    assert!(missing.len() > 50, "{missing:?}");
    find(&repository, &mut missing);
    assert!(missing.is_empty(), "no such tests: {missing:?}");
}
