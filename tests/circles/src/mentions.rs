//! The paths that a module's code mentions.

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Item, ItemUse, Macro, Path, Visibility,
    visit::{self, Visit},
};

use crate::imports::{self, Import};

/// Paths in types, expressions, patterns, attributes and macro calls, and the private imports. A re-export mentions
/// nothing: whoever uses the name gets the file that defines it.
pub(crate) fn of(items: &[Item]) -> Vec<Vec<String>> {
    let mut mentions = Mentions(Vec::new());
    items.iter().for_each(|item| mentions.visit_item(item));
    mentions.0
}

struct Mentions(Vec<Vec<String>>);

impl<'ast> Visit<'ast> for Mentions {
    fn visit_path(&mut self, path: &'ast Path) {
        if path.leading_colon.is_none() {
            self.0.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, import: &'ast ItemUse) {
        if matches!(import.vis, Visibility::Inherited) && import.leading_colon.is_none() {
            let named = imports::of(&import.tree).into_iter().filter_map(|import| match import {
                Import::Named { path, .. } => Some(path),
                Import::Glob(_) => None,
            });
            self.0.extend(named);
        }
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    /// `#[serde(with = "crate::duration")]` names a module by a text.
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Ok(list) = attribute.meta.require_list() {
            self.texts(list.tokens.clone());
        }
    }
}

impl Mentions {
    /// A macro's tokens have no grammar that is known here: every `name::name` counts, but fields and methods do not.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let (mut colons, mut dot) = (0, false);
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end(&mut path);
                    }
                    if !dot {
                        path.push(ident.to_string());
                    }
                    (colons, dot) = (0, false);
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Punct(punct) => {
                    self.end(&mut path);
                    (colons, dot) = (0, punct.as_char() == '.');
                }
                TokenTree::Group(group) => {
                    self.end(&mut path);
                    (colons, dot) = (0, false);
                    self.tokens(group.stream());
                }
                TokenTree::Literal(_) => self.end(&mut path),
            }
        }
        self.end(&mut path);
    }

    fn end(&mut self, path: &mut Vec<String>) {
        if !path.is_empty() {
            self.0.push(std::mem::take(path));
        }
    }

    fn texts(&mut self, tokens: TokenStream) {
        for token in tokens {
            if let TokenTree::Literal(literal) = token {
                let text = literal.to_string();
                if let Ok(path) = syn::parse_str::<Path>(text.trim_matches('"'))
                    && path.segments.len() > 1
                {
                    self.visit_path(&path);
                }
            }
        }
    }
}
