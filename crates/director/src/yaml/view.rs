//! A node, as what Ruby makes of it.

use std::borrow::Cow;

use super::{
    Document, YamlError,
    compose::Kind,
    map::Map,
    refused,
    scalar::{self, Scalar},
};

/// A node of a document. Looking at it is paid from the document's budget.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'d> {
    document: &'d Document,
    /// As written: an alias stays one.
    index: u32,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Shape<'d> {
    Scalar(Scalar<'d>),
    List(List<'d>),
    Map(Map<'d>),
    /// Of a class of Ruby.
    Object,
}

/// An array of Ruby.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List<'d> {
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

    /// The node where it is written, whatever aliases lead there.
    pub(crate) fn node(self) -> u32 {
        self.document.tree.resolve(self.index)
    }

    pub(crate) fn shape(self) -> Shape<'d> {
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

    /// Whether it is this text. Nothing is copied for the answer.
    pub(crate) fn is_text(self, wanted: &str) -> bool {
        let (tree, index) = (&self.document.tree, self.node());
        let may_be = matches!(tree.node(index).kind, Kind::Plain | Kind::Quoted)
            && (tree.text(index) == wanted || tree.tag(index).is_some());
        may_be && matches!(self.scalar(index), Scalar::Text(text) if text == wanted)
    }

    /// The text of a scalar that is text.
    pub(crate) fn text(self) -> Option<String> {
        match self.shape() {
            Shape::Scalar(Scalar::Text(text)) => self.owned(text),
            _ => None,
        }
    }

    /// The text as it is written, when it is as short as names are. Nothing is paid for it.
    pub(crate) fn short_text(self) -> Option<&'d str> {
        let (tree, index) = (&self.document.tree, self.node());
        Some(tree.text(index))
            .filter(|text| matches!(tree.node(index).kind, Kind::Plain | Kind::Quoted) && text.len() <= 20)
    }

    /// As the name of a key; `None` when it is no scalar.
    pub(crate) fn key(self) -> Option<String> {
        match self.shape() {
            Shape::Scalar(scalar) => self.owned(scalar.name()?.into()),
            _ => None,
        }
    }

    /// A scalar as it is written, whatever it means.
    pub(super) fn written(self) -> Option<String> {
        self.owned(self.document.tree.text(self.node()).into())
    }

    /// A copy, paid for.
    pub(crate) fn owned(self, text: Cow<'_, str>) -> Option<String> {
        self.document.spend(0, text.len()).then(|| text.into_owned())
    }

    /// An error at this node.
    pub(crate) fn refused(self, reason: impl Into<String>) -> YamlError {
        let node = self.document.tree.node(self.index);
        refused(node.line, node.column, reason)
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
    pub(crate) fn items(self) -> impl Iterator<Item = View<'d>> {
        let document = self.document;
        document
            .tree
            .children(self.index)
            .iter()
            .map_while(move |child| document.spend(1, 0).then(|| View::new(document, *child)))
    }
}

impl<'d> Document {
    /// Every key of the text that stands in a map as written, with where it is: names of keys, and positions in lists.
    pub(crate) fn keys(&'d self) -> impl Iterator<Item = View<'d>> {
        let maps = (0..self.tree.len()).filter(|index| self.tree.node(*index).kind == Kind::Map);
        maps.flat_map(|map| self.tree.children(map).chunks_exact(2)).map(|pair| View::new(self, pair[0]))
    }

    /// The way from the root to a key as written.
    pub(crate) fn path(&'d self, key: View<'d>) -> Vec<Step<'d>> {
        let mut steps = Vec::new();
        let Some(mut at) = self.tree.root else { return steps };
        while at != key.index {
            let children = self.tree.children(at);
            // Nodes stand in the order of their beginning, so that the last child that does not begin later holds the key.
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

/// A part of a way to a node.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'d> {
    /// A key of a map.
    Key(View<'d>),
    /// A position in a list, and what is there.
    Item(usize, View<'d>),
}
