//! Finds circles between the source files of a crate.
//!
//! An *edge* leads from file A to another file B of the same crate when A's code names an item that B defines: in a path
//! of a type, an expression, a pattern or a macro call, or in a private `use`. Imports and re-exports are followed to the
//! file that defines the item. No edge are
//!
//! - `mod child;` and a re-export (`pub use child::Item`): a parent says what it consists of,
//! - the name of a module alone (`use crate::wire`): what is used of it counts,
//! - test code (`#[cfg(test)]`), and links in doc comments.
//!
//! A *circle* is a file that can be reached from itself by edges. Whoever wants to understand one file of a circle has to
//! read all of them.
//!
//! Not seen: a method call, because its file is known to the compiler only. `impl` blocks of one type in several files
//! are a circle only if the files name each other's items. Between crates Cargo refuses circles itself.

mod imports;
mod mentions;
mod names;
mod tree;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::tree::Tree;

/// Which file names items of which files, and how it writes their names.
pub type Edges = BTreeMap<PathBuf, BTreeMap<PathBuf, BTreeSet<String>>>;

/// The edges between the files of the crate whose root file is `root`. Every file has an entry.
///
/// # Errors
/// A file that cannot be read or parsed.
pub fn edges(root: &Path) -> Result<Edges> {
    let tree = Tree::read(root)?;
    let mut edges: Edges = tree.files.iter().map(|file| (file.clone(), BTreeMap::new())).collect();
    for (id, module) in tree.modules.iter().enumerate() {
        let from = edges.entry(tree.files[module.file].clone()).or_default();
        for path in mentions::of(&module.items) {
            for file in names::files_of(&tree, id, &path).into_iter().filter(|file| *file != module.file) {
                from.entry(tree.files[file].clone()).or_default().insert(path.join("::"));
            }
        }
    }
    Ok(edges)
}

/// Circles, each from its alphabetically first file back to it. No file is in two of them: whoever opens one looks again.
pub fn circles(edges: &Edges) -> Vec<Vec<PathBuf>> {
    let mut reported = BTreeSet::new();
    let mut circles = Vec::new();
    for file in edges.keys() {
        if let Some(circle) = shortest_circle(edges, file)
            && !circle.iter().any(|member| reported.contains(member))
        {
            reported.extend(circle.iter().cloned());
            circles.push(circle);
        }
    }
    circles
}

/// The shortest way from `start` back to itself, `start` at both ends.
fn shortest_circle(edges: &Edges, start: &PathBuf) -> Option<Vec<PathBuf>> {
    let mut came_from: BTreeMap<&PathBuf, &PathBuf> = BTreeMap::new();
    let mut open = VecDeque::from([start]);
    while let Some(file) = open.pop_front() {
        for next in edges.get(file).into_iter().flat_map(BTreeMap::keys) {
            if came_from.contains_key(next) {
                continue;
            }
            came_from.insert(next, file);
            if next == start {
                return Some(way(&came_from, start));
            }
            open.push_back(next);
        }
    }
    None
}

fn way(came_from: &BTreeMap<&PathBuf, &PathBuf>, start: &PathBuf) -> Vec<PathBuf> {
    let mut way = vec![start.clone()];
    let mut file = came_from[start];
    while file != start {
        way.push(file.clone());
        file = came_from[file];
    }
    way.push(start.clone());
    way.reverse();
    way
}
