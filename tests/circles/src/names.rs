//! What a path leads to: the file that defines the item, through imports, re-exports and globs.

use std::collections::HashSet;

use crate::tree::{FileId, Meaning, ModuleId, Tree};

/// Where a path ends.
#[derive(Clone, Copy)]
enum Target {
    Module(ModuleId),
    /// An item of this file. What is inside of it (a variant, an associated function) is of the same file.
    Item(FileId),
}

/// The files that define what `path`, written in `module`, names. A module itself is no item. A path into another crate
/// leads to no file.
pub(crate) fn files_of(tree: &Tree, module: ModuleId, path: &[String]) -> Vec<FileId> {
    let targets = Search { tree, seen: HashSet::new() }.path(module, path);
    targets
        .into_iter()
        .filter_map(|target| match target {
            Target::Item(file) => Some(file),
            Target::Module(_) => None,
        })
        .collect()
}

struct Search<'t> {
    tree: &'t Tree,
    /// What was looked up already: two modules may import everything of each other.
    seen: HashSet<(ModuleId, String)>,
}

impl Search<'_> {
    fn path(&mut self, mut module: ModuleId, path: &[String]) -> Vec<Target> {
        let mut rest = path;
        while let [first, after @ ..] = rest {
            module = match first.as_str() {
                "crate" => 0,
                "self" => module,
                "super" => self.tree.modules[module].parent.unwrap_or(module),
                _ => break,
            };
            rest = after;
        }
        self.walk(Target::Module(module), rest)
    }

    /// Follows the rest of a path. A module and a function can share a name; only the module has names inside.
    fn walk(&mut self, from: Target, path: &[String]) -> Vec<Target> {
        let (Target::Module(module), [name, rest @ ..]) = (from, path) else { return vec![from] };
        let mut found = self.name(module, name);
        if !rest.is_empty() && found.iter().any(|target| matches!(target, Target::Module(_))) {
            found.retain(|target| matches!(target, Target::Module(_)));
        }
        found.into_iter().flat_map(|target| self.walk(target, rest)).collect()
    }

    fn name(&mut self, module: ModuleId, name: &str) -> Vec<Target> {
        if !self.seen.insert((module, name.to_owned())) {
            return Vec::new();
        }
        let here = &self.tree.modules[module];
        let mut found = Vec::new();
        for meaning in here.names.get(name).into_iter().flatten() {
            match meaning {
                Meaning::Module(id) => found.push(Target::Module(*id)),
                Meaning::Item => found.push(Target::Item(here.file)),
                Meaning::Import(path) => found.extend(self.path(module, path)),
            }
        }
        if found.is_empty() {
            for glob in &here.globs {
                for target in self.path(module, glob) {
                    found.extend(
                        self.walk(target, &[name.to_owned()])
                            .into_iter()
                            .filter(|_| matches!(target, Target::Module(_))),
                    );
                }
            }
        }
        found
    }
}
