//! The modules of one crate, read from its root file on: which names each has, and in which file it is.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use syn::{Attribute, Expr, Item, ItemMod, Lit, Meta};

use crate::imports::{self, Import};

/// Index of a file in [`Tree::files`].
pub(crate) type FileId = usize;
/// Index of a module in [`Tree::modules`]. The crate's root is 0.
pub(crate) type ModuleId = usize;

/// A crate's files and modules. Test code (`#[cfg(test)]`) is not in it.
#[derive(Default)]
pub(crate) struct Tree {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) modules: Vec<Module>,
}

/// One module, of a file or inline.
pub(crate) struct Module {
    pub(crate) file: FileId,
    pub(crate) parent: Option<ModuleId>,
    /// What a name means here. A name can have several meanings: a module and a function, for example.
    pub(crate) names: HashMap<String, Vec<Meaning>>,
    /// Modules of which all names are imported (`use a::b::*`).
    pub(crate) globs: Vec<Vec<String>>,
    /// What is written in the module, without its own modules.
    pub(crate) items: Vec<Item>,
}

/// What a name stands for.
pub(crate) enum Meaning {
    Module(ModuleId),
    /// Anything else that this module defines.
    Item,
    /// An import or re-export of this path.
    Import(Vec<String>),
}

impl Tree {
    /// Reads the crate whose root is `root`.
    ///
    /// # Errors
    /// A file that cannot be read or parsed, or a module without a file.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        let folder = root.parent().context("a root file is in a folder")?;
        tree.add_file(root, None, folder)?;
        Ok(tree)
    }

    /// Adds the module that is the file `path`. The files of its own modules are in `folder`.
    fn add_file(&mut self, path: &Path, parent: Option<ModuleId>, folder: &Path) -> Result<ModuleId> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let parsed = syn::parse_file(&text).with_context(|| format!("parsing {}", path.display()))?;
        self.files.push(path.to_owned());
        self.add_module(self.files.len() - 1, parent, folder, parsed.items)
    }

    fn add_module(
        &mut self,
        file: FileId,
        parent: Option<ModuleId>,
        folder: &Path,
        items: Vec<Item>,
    ) -> Result<ModuleId> {
        let id = self.modules.len();
        self.modules.push(Module { file, parent, names: HashMap::new(), globs: Vec::new(), items: Vec::new() });
        for item in items.into_iter().filter(|item| !is_test(attributes(item))) {
            match item {
                Item::Mod(child) => self.add_child(id, folder, child)?,
                item => self.modules[id].add(item),
            }
        }
        Ok(id)
    }

    fn add_child(&mut self, parent: ModuleId, folder: &Path, child: ItemMod) -> Result<()> {
        let name = child.ident.to_string();
        let inside = folder.join(&name);
        let id = match child.content {
            Some((_, items)) => self.add_module(self.modules[parent].file, Some(parent), &inside, items)?,
            None => {
                let path = match path_attribute(&child.attrs) {
                    Some(path) => self.beside(parent).join(path),
                    None => file_of_module(folder, &name)?,
                };
                self.add_file(&path, Some(parent), &inside)?
            }
        };
        self.modules[parent].mean(name, Meaning::Module(id));
        Ok(())
    }

    /// The folder of the file in which a module is written.
    fn beside(&self, module: ModuleId) -> PathBuf {
        self.files[self.modules[module].file].parent().map(Path::to_owned).unwrap_or_default()
    }
}

impl Module {
    fn add(&mut self, item: Item) {
        match &item {
            Item::Use(import) => imports::of(&import.tree).into_iter().for_each(|import| self.import(import)),
            other => {
                if let Some(name) = name_of(other) {
                    self.mean(name, Meaning::Item);
                }
            }
        }
        self.items.push(item);
    }

    fn import(&mut self, import: Import) {
        match import {
            Import::Glob(path) => self.globs.push(path),
            Import::Named { mut path, name } if name == "self" => {
                path.pop();
                if let Some(last) = path.last().cloned() {
                    self.mean(last, Meaning::Import(path));
                }
            }
            Import::Named { path, name } => self.mean(name, Meaning::Import(path)),
        }
    }

    fn mean(&mut self, name: String, meaning: Meaning) {
        self.names.entry(name).or_default().push(meaning);
    }
}

/// `NAME.rs`, or `mod.rs` in the folder `NAME`.
fn file_of_module(folder: &Path, name: &str) -> Result<PathBuf> {
    let candidates = [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")];
    match candidates.iter().find(|path| path.exists()) {
        Some(path) => Ok(path.clone()),
        None => bail!("no file for module {name} in {}", folder.display()),
    }
}

/// The name that an item defines in its module. An `impl` defines none.
fn name_of(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether `#[cfg(test)]`, alone or in an `all(…)`, keeps something out of the program.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string().replace(' ', "");
            condition == "test" || condition.starts_with("all(test,")
        }
        _ => false,
    })
}

/// The value of `#[path = "…"]`.
fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    })
}
