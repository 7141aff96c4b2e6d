//! Small crates with and without a circle.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{collections::BTreeSet, fs};

use boshy_circles::{circles, edges};

/// Circles of a crate whose files are these, each as the names of its files.
fn circles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let edges = edges(&folder.path().join("lib.rs")).unwrap();
    assert_eq!(edges.len(), files.len(), "every file is read");
    let short = |file: &std::path::PathBuf| file.strip_prefix(folder.path()).unwrap().display().to_string();
    circles(&edges).iter().map(|circle| circle.iter().map(short).collect()).collect()
}

/// Names of the two files that each use the other.
fn pair(first: &str, second: &str) -> Vec<Vec<String>> {
    vec![vec![first.to_owned(), second.to_owned(), first.to_owned()]]
}

const NONE: Vec<Vec<String>> = Vec::new();

#[test]
fn two_files_that_import_each_others_items_are_a_circle() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B; pub struct A(B);"),
        ("b.rs", "use super::a::A; pub struct B(Box<A>);"),
    ];
    assert_eq!(circles_of(&files), pair("a.rs", "b.rs"));
}

#[test]
fn a_longer_circle_is_shown_whole() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "pub fn a() { crate::b::b() }"),
        ("b.rs", "pub fn b() { crate::c::c() }"),
        ("c.rs", "pub fn c() { crate::a::a() }"),
    ];
    assert_eq!(circles_of(&files), [["a.rs", "b.rs", "c.rs", "a.rs"]]);
}

#[test]
fn a_re_export_counts_towards_the_file_that_defines_the_item() {
    let files = [
        ("lib.rs", "mod a; mod b; pub use a::A; pub use self::b::*;"),
        ("a.rs", "use crate::B; pub struct A(B);"),
        ("b.rs", "pub struct B; pub fn of() -> Option<crate::A> { None }"),
    ];
    assert_eq!(circles_of(&files), pair("a.rs", "b.rs"));
}

#[test]
fn a_parent_that_only_re_exports_its_children_is_in_no_circle() {
    let files = [("lib.rs", "mod a; pub use a::A; pub struct Shared;"), ("a.rs", "pub struct A(crate::Shared);")];
    assert_eq!(circles_of(&files), NONE);
}

#[test]
fn a_parent_and_a_child_that_use_each_other_are_a_circle() {
    let files = [
        ("lib.rs", "mod part;"),
        ("part/mod.rs", "mod piece; pub struct Whole; fn cut() { piece::cut() }"),
        ("part/piece.rs", "use super::Whole; pub fn cut() -> Option<Whole> { None }"),
    ];
    assert_eq!(circles_of(&files), pair("part/mod.rs", "part/piece.rs"));
}

#[test]
fn names_in_macro_calls_attributes_and_globs_count() {
    let uses = [
        "fn f() -> String { format!(\"{}\", crate::b::B) }",
        "fn f() -> bool { matches!(1, crate::b::C) }",
        "#[derive(serde::Serialize)] struct S { #[serde(with = \"crate::b::wire\")] field: u8 }",
        "use crate::b::*; struct S(B);",
        "use crate::b; fn f() -> b::B { b::B }",
        "impl crate::b::B {}",
        "fn f() { use crate::b::B; }",
    ];
    for text in uses {
        let a = format!("{text} pub struct A;");
        let b = "use crate::a::A; pub struct B; pub const C: u8 = 1; pub fn wire(_: A) {}";
        let files = [("lib.rs", "mod a; mod b;"), ("a.rs", a.as_str()), ("b.rs", b)];
        assert_eq!(circles_of(&files), pair("a.rs", "b.rs"), "{text}");
    }
}

#[test]
fn test_code_module_names_and_fields_count_for_nothing() {
    let uses = [
        "#[cfg(test)] mod tests { use crate::b::B; }",
        "#[cfg(test)] use crate::b::B;",
        "use crate::b;",
        "/// See [`crate::b::B`].\nfn f() {}",
        "fn f(of: Of) { println!(\"{}\", of.crate_b) }",
        "use other::b::B;",
    ];
    for text in uses {
        let a = format!("{text} pub struct A;");
        let files = [("lib.rs", "mod a; mod b;"), ("a.rs", a.as_str()), ("b.rs", "pub struct B(crate::a::A);")];
        assert_eq!(circles_of(&files), NONE, "{text}");
    }
}

#[test]
fn a_name_inside_a_module_is_not_the_functions_of_the_same_name() {
    let files = [
        ("lib.rs", "mod a; mod run; pub use run::run;"),
        ("run.rs", "pub fn run() { crate::a::a() } pub mod inner { pub struct Run; }"),
        ("a.rs", "pub fn a() {}"),
    ];
    assert_eq!(circles_of(&files), NONE);
}

#[test]
fn two_modules_that_import_everything_of_each_other_are_read_to_the_end() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub use crate::b::*; pub struct A(Nowhere);"),
        ("b.rs", "pub use crate::a::*; pub struct B(Nowhere);"),
    ];
    assert_eq!(circles_of(&files), NONE);
}

#[test]
fn no_file_is_in_two_circles_of_one_report() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "pub struct A(crate::b::B, crate::c::C);"),
        ("b.rs", "pub struct B(Box<crate::a::A>);"),
        ("c.rs", "pub struct C(Box<crate::a::A>);"),
    ];
    let found = circles_of(&files);
    let members: BTreeSet<_> = found.iter().flatten().collect();
    assert_eq!((found.len(), members.len()), (1, 2), "{found:?}");
}

#[test]
fn a_module_without_a_file_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("lib.rs"), "mod missing;").unwrap();
    let error = edges(&folder.path().join("lib.rs")).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
}
