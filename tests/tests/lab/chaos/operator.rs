//! An operator who touches the common table of virtual IPs.

use serde_json::Value;

use crate::driver::Lab;

/// The config of the table, as the BOSH CLI names it.
const TABLE: [&str; 2] = ["--type=boshy-vips", "--name=boshy"];
/// What an operator may have written by mistake.
const NO_TABLE: &str = "leases: by hand\n";

pub(super) fn deletes_table(lab: &Lab) {
    lab.bosh([["delete-config"].as_slice(), &TABLE].concat());
}

/// Makes this version the latest.
pub(super) fn puts_table(lab: &Lab, version: &str) {
    let file = lab.file("table.yml", version);
    lab.bosh([["update-config", file.to_str().unwrap()].as_slice(), &TABLE].concat());
}

/// Writes what is no table, and returns the id of that version.
pub(super) fn edits_table(lab: &Lab) -> String {
    puts_table(lab, NO_TABLE);
    let shown = told(lab, &["configs", "--type=boshy-vips", "--recent=20"]);
    let ids = shown.pointer("/Tables/0/Rows").and_then(Value::as_array).into_iter().flatten();
    let id = ids.filter_map(|row| row["id"].as_str()).max_by_key(|id| id.trim_end_matches('*').parse::<u64>().unwrap());
    id.unwrap_or_else(|| panic!("{shown}")).trim_end_matches('*').to_owned()
}

pub(super) fn deletes_version(lab: &Lab, id: &str) {
    lab.bosh(["delete-config", id]);
}

/// The latest version of the table; `None` when there is none.
pub(super) fn table(lab: &Lab) -> Option<String> {
    let found = told(lab, &["configs", "--type=boshy-vips"]);
    found.pointer("/Tables/0/Rows/0/id")?;
    let shown = told(lab, &[["config"].as_slice(), &TABLE].concat());
    Some(shown.pointer("/Tables/0/Rows/0/content")?.as_str()?.to_owned())
}

fn told(lab: &Lab, arguments: &[&str]) -> Value {
    serde_json::from_str(&lab.bosh(["--json"].iter().chain(arguments))).unwrap()
}
