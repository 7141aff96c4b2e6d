//! Nodes, lists and maps, interpreted as Ruby does.
//!
//! Maps are filled as `Psych::Visitors::ToRuby#revive_hash` fills a hash: in order. A merge overwrites pairs before it
//! and is overwritten by pairs after it; of a list of maps the first wins. So [`Pairs`] visits the pairs from the last
//! one backwards, and descends into each merged map where it occurs: the first pair found with a key counts.

use std::{borrow::Cow, collections::HashSet};

use super::{
    Document, YamlError,
    compose::Kind,
    error::refused,
    scalar::{self, Scalar},
};

/// A node of a document. Access to it is paid from the document's budget.
#[derive(Clone, Copy, Debug)]
pub struct View<'d> {
    document: &'d Document,
    /// The node as written; an alias is not resolved.
    index: u32,
}

/// What Ruby makes of a node.
#[derive(Clone, Debug)]
pub enum Shape<'d> {
    /// A value without parts.
    Scalar(Scalar<'d>),
    /// An array.
    List(List<'d>),
    /// A hash.
    Map(Map<'d>),
    /// An object of a Ruby class.
    Object,
}

/// A Ruby array.
#[derive(Clone, Copy, Debug)]
pub struct List<'d> {
    document: &'d Document,
    index: u32,
}

const OMAP: [&str; 2] = ["!omap", "tag:yaml.org,2002:omap"];
const SET: [&str; 2] = ["!set", "tag:yaml.org,2002:set"];
const OBJECTS: [&str; 7] = ["struct", "object", "array:", "range", "exception", "hash-with-ivars", "marshalable:"];

impl<'d> View<'d> {
    pub(super) fn new(document: &'d Document, index: u32) -> Self {
        Self { document, index }
    }

    /// The node that is written in the text, with aliases resolved.
    pub fn node(self) -> u32 {
        self.document.tree.resolve(self.index)
    }

    /// The kind of value that Ruby makes of the node.
    pub fn shape(self) -> Shape<'d> {
        let (tree, index) = (&self.document.tree, self.node());
        let tag = tree.tag(index);
        match tree.node(index).kind {
            Kind::List if tag.is_some_and(|tag| OMAP.contains(&tag)) => self.map(index, false),
            Kind::List => Shape::List(List { document: self.document, index }),
            Kind::Map => match tag {
                Some(tag) if OMAP.contains(&tag) || SET.contains(&tag) => self.map(index, false),
                Some(tag) if is_object(tag) => Shape::Object,
                _ => self.map(index, true),
            },
            Kind::Plain | Kind::Quoted | Kind::Alias => Shape::Scalar(self.scalar(index)),
        }
    }

    fn map(self, index: u32, merges: bool) -> Shape<'d> {
        Shape::Map(Map { document: self.document, index, merges })
    }

    fn scalar(self, index: u32) -> Scalar<'d> {
        let tree = &self.document.tree;
        scalar::read(tree.text(index), tree.tag(index), tree.node(index).kind == Kind::Quoted)
    }

    /// Whether it is this text. The check copies nothing.
    pub fn is_text(self, wanted: &str) -> bool {
        let (tree, index) = (&self.document.tree, self.node());
        let may_be = matches!(tree.node(index).kind, Kind::Plain | Kind::Quoted)
            && (tree.text(index) == wanted || tree.tag(index).is_some());
        may_be && matches!(self.scalar(index), Scalar::Text(text) if text == wanted)
    }

    /// The text of a scalar, if it is text.
    pub fn text(self) -> Option<String> {
        match self.shape() {
            Shape::Scalar(Scalar::Text(text)) => self.owned(text),
            _ => None,
        }
    }

    /// The text as written, if it is as short as a name. It costs no budget.
    pub fn short_text(self) -> Option<&'d str> {
        let (tree, index) = (&self.document.tree, self.node());
        Some(tree.text(index))
            .filter(|text| matches!(tree.node(index).kind, Kind::Plain | Kind::Quoted) && text.len() <= 20)
    }

    /// The node as the name of a key; `None` when it is not a scalar.
    pub fn key(self) -> Option<String> {
        match self.shape() {
            Shape::Scalar(scalar) => self.owned(scalar.name()?.into()),
            _ => None,
        }
    }

    /// A scalar as written, regardless of its meaning.
    pub(super) fn written(self) -> Option<String> {
        self.owned(self.document.tree.text(self.node()).into())
    }

    /// A copy, paid from the budget.
    pub fn owned(self, text: Cow<'_, str>) -> Option<String> {
        self.document.spend(0, text.len()).then(|| text.into_owned())
    }

    /// Where it is written: line and column, from 1.
    pub fn position(self) -> (u32, u32) {
        let node = self.document.tree.node(self.index);
        (node.line, node.column)
    }

    /// An error at this node.
    pub fn refused(self, reason: impl Into<String>) -> YamlError {
        let (line, column) = self.position();
        refused(line, column, reason)
    }
}

fn is_object(tag: &str) -> bool {
    if scalar::is_str(tag) {
        return true;
    }
    let class = tag.strip_prefix("!ruby/");
    class.is_some_and(|class| class != "object:Hash" && OBJECTS.iter().any(|kind| class.starts_with(kind)))
}

impl<'d> List<'d> {
    /// The elements in order, up to the end of the document's budget.
    pub fn items(self) -> impl Iterator<Item = View<'d>> {
        let document = self.document;
        document
            .tree
            .children(self.index)
            .iter()
            .map_while(move |child| document.spend(1, 0).then(|| View::new(document, *child)))
    }
}

impl Document {
    /// The document's root node; `None` when the text has none.
    pub fn root(&self) -> Option<View<'_>> {
        self.tree.root.map(|index| View::new(self, index))
    }
}

impl<'d> Document {
    /// Every key of a map in the text, as written.
    pub fn keys(&'d self) -> impl Iterator<Item = View<'d>> {
        let maps = (0..self.tree.len()).filter(|index| self.tree.node(*index).kind == Kind::Map);
        maps.flat_map(|map| self.tree.children(map).chunks_exact(2)).map(|pair| View::new(self, pair[0]))
    }

    /// The path from the root to a key, as written.
    pub fn path(&'d self, key: View<'d>) -> Vec<Step<'d>> {
        let mut steps = Vec::new();
        let Some(mut at) = self.tree.root else { return steps };
        while at != key.index {
            let children = self.tree.children(at);
            // Nodes are in the order of their beginning, so the last child that does not begin later contains the key.
            let Some(position) = children.partition_point(|child| *child <= key.index).checked_sub(1) else {
                return steps;
            };
            let is_map = self.tree.node(at).kind == Kind::Map;
            let view = View::new(self, children[position]);
            match is_map {
                true if position % 2 == 1 || children[position] == key.index => {
                    steps.push(Step::Key(View::new(self, children[position & !1])));
                }
                true => {}
                false => steps.push(Step::Item(position, view)),
            }
            at = children[position];
        }
        steps
    }
}

/// A step of a path.
#[derive(Clone, Copy, Debug)]
pub enum Step<'d> {
    /// A key of a map.
    Key(View<'d>),
    /// A position in a list, and its node.
    Item(usize, View<'d>),
}

/// A Ruby hash.
#[derive(Clone, Copy, Debug)]
pub struct Map<'d> {
    pub(super) document: &'d Document,
    pub(super) index: u32,
    /// Whether merge keys apply; they do not in a set or an ordered map.
    pub(super) merges: bool,
}

/// A key and its value.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'d> {
    /// The key, which may be of any shape.
    pub key: View<'d>,
    /// The value under the key.
    pub value: View<'d>,
}

impl<'d> Map<'d> {
    /// The pair whose key is this text.
    pub fn get(self, key: &str) -> Option<Pair<'d>> {
        self.pairs().find(|pair| pair.key.is_text(key))
    }

    /// Pairs by precedence: of two with the same key, the first counts.
    pub fn pairs(self) -> Pairs<'d> {
        let mut pairs = Pairs { document: self.document, merges: self.merges, open: Vec::new(), seen: HashSet::new() };
        pairs.enter(self.index);
        pairs
    }

    /// Pairs, each key once. Keys that are not scalars are left out.
    pub fn entries(self) -> Vec<(String, Pair<'d>)> {
        let mut known = HashSet::new();
        let named = self.pairs().filter_map(|pair| Some((pair.key.key()?, pair)));
        let mut entries: Vec<_> = named.filter(|(name, _)| known.insert(name.clone())).collect();
        entries.reverse();
        entries
    }
}

/// See [`Map::pairs`].
pub struct Pairs<'d> {
    document: &'d Document,
    merges: bool,
    /// Maps being visited, with the number of their remaining pairs.
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

    /// The last remaining pair of the current map.
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

    /// The maps that a pair merges, those with precedence first; `None` for an ordinary pair.
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
            // The map entered last is visited first.
            maps.into_iter().rev().for_each(|map| self.enter(map));
        }
    }
}
