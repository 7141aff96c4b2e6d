//! Maps, with what they merge, as `Psych::Visitors::ToRuby#revive_hash` fills a hash.
//!
//! Psych works through the pairs in order. A merge overwrites what stands before it and is overwritten by what stands after it; of a list of
//! maps the first wins. So the pairs are gone through from the last one backwards, into each merged map where it stands: the
//! first pair that is met counts.

use std::collections::HashSet;

use super::{
    Document,
    compose::Kind,
    scalar::{self, Scalar},
    view::{Shape, View},
};

/// A hash of Ruby.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Map<'d> {
    pub(super) document: &'d Document,
    pub(super) index: u32,
    /// A set or an ordered map does not merge.
    pub(super) merges: bool,
}

/// A key and its value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair<'d> {
    pub(crate) key: View<'d>,
    pub(crate) value: View<'d>,
}

impl<'d> Map<'d> {
    /// The pair whose key is this text.
    pub(crate) fn get(self, key: &str) -> Option<Pair<'d>> {
        self.pairs().find(|pair| pair.key.is_text(key))
    }

    /// Pairs by precedence: of two with one key, the first counts.
    pub(crate) fn pairs(self) -> Pairs<'d> {
        let mut pairs = Pairs { document: self.document, merges: self.merges, open: Vec::new(), seen: HashSet::new() };
        pairs.enter(self.index);
        pairs
    }

    /// Pairs, each key once. Keys that are no scalars are left out.
    pub(crate) fn entries(self) -> Vec<(String, Pair<'d>)> {
        let mut known = HashSet::new();
        let named = self.pairs().filter_map(|pair| Some((pair.key.key()?, pair)));
        let mut entries: Vec<_> = named.filter(|(name, _)| known.insert(name.clone())).collect();
        entries.reverse();
        entries
    }
}

/// See [`Map::pairs`].
pub(crate) struct Pairs<'d> {
    document: &'d Document,
    merges: bool,
    /// Maps that are being gone through, and how many of their pairs are left.
    open: Vec<(u32, usize)>,
    seen: HashSet<u32>,
}

impl<'d> Pairs<'d> {
    fn enter(&mut self, index: u32) {
        if self.seen.insert(index) {
            let tree = &self.document.tree;
            let count = tree.children(index).len();
            self.open.push((index, if tree.node(index).kind == Kind::Map { count / 2 } else { count }));
        }
    }

    /// The last pair that is left of the map at hand.
    fn take(&mut self) -> Option<(u32, u32)> {
        let tree = &self.document.tree;
        loop {
            let (index, left) = self.open.last_mut()?;
            if *left == 0 {
                self.open.pop();
                continue;
            }
            if !self.document.spend(1, 0) {
                return None;
            }
            *left -= 1;
            let (children, left) = (tree.children(*index), *left);
            if tree.node(*index).kind == Kind::Map {
                return Some((children[2 * left], children[2 * left + 1]));
            }
            // Each element of an ordered map is a map of one pair.
            if let [key, .., value] = tree.children(tree.resolve(children[left])) {
                return Some((*key, *value));
            }
        }
    }

    /// The maps that a pair merges, those that win first; `None` when it is a pair like others.
    fn merged(&self, key: u32, value: u32) -> Option<Vec<u32>> {
        let tree = &self.document.tree;
        if !self.merges || tree.tag(key) == Some(scalar::STR) || !View::new(self.document, key).is_text("<<") {
            return None;
        }
        let map =
            |index: u32| matches!(View::new(self.document, index).shape(), Shape::Map(_)).then(|| tree.resolve(index));
        match tree.node(value).kind {
            Kind::Alias | Kind::Map => map(value).map(|index| vec![index]),
            Kind::List if matches!(View::new(self.document, value).shape(), Shape::List(_)) => {
                let children = tree.children(value);
                if !self.document.spend(children.len(), 0) {
                    return None;
                }
                children.iter().map(|child| map(*child)).collect()
            }
            Kind::List | Kind::Plain | Kind::Quoted => None,
        }
    }
}

impl<'d> Iterator for Pairs<'d> {
    type Item = Pair<'d>;

    fn next(&mut self) -> Option<Pair<'d>> {
        loop {
            let (key, value) = self.take()?;
            let Some(maps) = self.merged(key, value) else {
                let view = |index| View::new(self.document, index);
                return Some(Pair { key: view(key), value: view(value) });
            };
            // The one entered last is gone through first.
            maps.into_iter().rev().for_each(|map| self.enter(map));
        }
    }
}

impl Scalar<'_> {
    /// As the name of a key.
    pub(super) fn name(&self) -> Option<String> {
        Some(match self {
            Self::Null => String::new(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => format!("{value:?}").replace("inf", "Infinity"),
            Self::Text(text) => text.clone().into_owned(),
            Self::Symbol(text) => format!(":{text}"),
            Self::Binary(octets) => String::from_utf8_lossy(octets).into_owned(),
            Self::BigInt | Self::Date | Self::Time | Self::Object => return None,
        })
    }
}
