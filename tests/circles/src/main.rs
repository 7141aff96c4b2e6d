//! `cargo run -p boshy-circles`: fails, and names the files, if there is a circle between files of the workspace.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its output is for people")]

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, ensure};
use boshy_circles::{Edges, circles, edges};
use serde::Deserialize;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    targets: Vec<Target>,
}

/// A crate in Cargo's words: a library, a program or a test.
#[derive(Deserialize)]
struct Target {
    src_path: PathBuf,
}

fn main() -> Result<ExitCode> {
    let workspace = metadata()?;
    let roots = workspace.packages.iter().flat_map(|package| &package.targets).map(|target| &target.src_path);
    let (mut files, mut uses, mut found) = (0, 0, 0);
    for root in roots {
        let edges = edges(root)?;
        files += edges.len();
        uses += edges.values().map(BTreeMap::len).sum::<usize>();
        for circle in circles(&edges) {
            found += 1;
            eprintln!("{}", show(&circle, &edges, &workspace.workspace_root));
        }
    }
    println!("{files} files, {uses} edges between them, {found} circles");
    Ok(if found == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The workspace's packages, without their dependencies.
fn metadata() -> Result<Metadata> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .output()
        .context("starting cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("reading the output of cargo metadata")
}

/// The files of a circle, each with the names by which it uses the next one.
fn show(circle: &[PathBuf], edges: &Edges, root: &Path) -> String {
    let steps: Vec<_> = circle
        .iter()
        .zip(&circle[1..])
        .map(|(file, next)| {
            let names: Vec<_> = edges[file][next].iter().map(String::as_str).collect();
            format!("  {} names {} of\n", file.strip_prefix(root).unwrap_or(file).display(), names.join(", "))
        })
        .collect();
    let first = circle[0].strip_prefix(root).unwrap_or(&circle[0]).display();
    format!("circle:\n{}  {first}", steps.concat())
}
