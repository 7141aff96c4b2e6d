//! The imports of a `use`, one by one.

use syn::UseTree;

/// One import.
pub(crate) enum Import {
    /// One item.
    Named {
        /// Its path, with its own name or `self` at the end.
        path: Vec<String>,
        /// The name under which it is imported.
        name: String,
    },
    /// All items of a module.
    Glob(Vec<String>),
}

/// The imports of a `use`.
pub(crate) fn of(tree: &UseTree) -> Vec<Import> {
    let mut imports = Vec::new();
    add(tree, Vec::new(), &mut imports);
    imports
}

fn add(tree: &UseTree, mut path: Vec<String>, imports: &mut Vec<Import>) {
    match tree {
        UseTree::Path(step) => {
            path.push(step.ident.to_string());
            add(&step.tree, path, imports);
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| add(tree, path.clone(), imports)),
        UseTree::Glob(_) => imports.push(Import::Glob(path)),
        UseTree::Name(name) => {
            path.push(name.ident.to_string());
            imports.push(Import::Named { path, name: name.ident.to_string() });
        }
        UseTree::Rename(rename) => {
            path.push(rename.ident.to_string());
            imports.push(Import::Named { path, name: rename.rename.to_string() });
        }
    }
}
