//! Builds a tree from parser events. Nodes are stored in the order of their beginning, so that a subtree is a range of
//! nodes.

use std::{
    borrow::Cow,
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use libyaml_safer::{EventData, MappingStyle, Parser, ScalarStyle, SequenceStyle};

use super::{Limits, YamlError, error::refused};

/// Limit on the scanner's work for one text: at each token it visits every enclosing level of `[` and `{`.
const MAX_WORK: usize = 50_000_000;

/// Kind of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A scalar whose type Psych derives from its text.
    Plain,
    /// A scalar in quotes or a block, without a tag: always text.
    Quoted,
    List,
    Map,
    Alias,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Index of the tag, from 1.
    tag: u32,
    pub(super) line: u32,
    pub(super) column: u32,
    /// Of a scalar the start of its text, of a list or map the start of its children, of an alias its node.
    start: u32,
    length: u32,
}

/// The nodes of one document in flat arrays, so that a large document costs few allocations.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    children: Vec<u32>,
    text: String,
    tags: Vec<String>,
    pub(super) root: Option<u32>,
}

impl Tree {
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn node(&self, index: u32) -> Node {
        self.nodes[index as usize]
    }

    pub(super) fn tag(&self, index: u32) -> Option<&str> {
        let tag = self.node(index).tag.checked_sub(1)?;
        Some(&self.tags[tag as usize])
    }

    pub(super) fn text(&self, index: u32) -> &str {
        let node = self.node(index);
        match node.kind {
            Kind::Plain | Kind::Quoted => &self.text[node.start as usize..(node.start + node.length) as usize],
            Kind::List | Kind::Map | Kind::Alias => "",
        }
    }

    pub(super) fn children(&self, index: u32) -> &[u32] {
        let node = self.node(index);
        match node.kind {
            Kind::List | Kind::Map => &self.children[node.start as usize..(node.start + node.length) as usize],
            Kind::Plain | Kind::Quoted | Kind::Alias => &[],
        }
    }

    /// The node that an alias refers to; any other node itself.
    pub(super) fn resolve(&self, index: u32) -> u32 {
        let node = self.node(index);
        if node.kind == Kind::Alias { node.start } else { index }
    }
}

/// Parses the first document of a text.
///
/// A panic of the library makes only this text fail.
pub(super) fn compose(text: &str, limits: &Limits) -> Result<Tree, YamlError> {
    catch_unwind(AssertUnwindSafe(|| Composer::new(limits).run(text)))
        .unwrap_or_else(|_| Err(refused(0, 0, "the YAML library failed on this text")))
}

struct Composer<'l> {
    limits: &'l Limits,
    tree: Tree,
    anchors: HashMap<String, u32>,
    tags: HashMap<String, u32>,
    /// Open lists and maps: the node, where its children begin in `pending`, and whether it is written with brackets.
    open: Vec<(u32, usize, bool)>,
    pending: Vec<u32>,
    brackets: usize,
    work: usize,
}

impl<'l> Composer<'l> {
    fn new(limits: &'l Limits) -> Self {
        Self {
            limits,
            tree: Tree::default(),
            anchors: HashMap::new(),
            tags: HashMap::new(),
            open: Vec::new(),
            pending: Vec::new(),
            brackets: 0,
            work: 0,
        }
    }

    fn run(mut self, text: &str) -> Result<Tree, YamlError> {
        let ended = with_last_line_ended(text);
        let mut input = ended.as_bytes();
        let mut parser = Parser::new();
        parser.set_input_string(&mut input);
        loop {
            let event = parser.parse().map_err(|error| syntax(&error))?;
            let at = (number(event.start_mark.line) + 1, number(event.start_mark.column) + 1);
            self.work += 1 + self.brackets;
            if self.work > MAX_WORK {
                return Err(refused(at.0, at.1, "takes more work to read than a manifest can be worth"));
            }
            match event.data {
                EventData::StreamStart { .. } | EventData::DocumentStart { .. } => {}
                EventData::StreamEnd | EventData::DocumentEnd { .. } => return Ok(self.tree),
                EventData::Alias { anchor } => {
                    let target = self.anchors.get(&anchor).copied();
                    let target =
                        target.ok_or_else(|| refused(at.0, at.1, "an alias to an anchor that is not there"))?;
                    self.add(Kind::Alias, None, None, (target, 0), at)?;
                }
                EventData::Scalar { anchor, tag, mut value, quoted_implicit, style, .. } => {
                    let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                    if is_block && event.end_mark.index > text.len() as u64 && value.ends_with('\n') {
                        value.pop();
                    }
                    let start = self.tree.text.len();
                    if start + value.len() > self.limits.scalar_bytes {
                        return Err(refused(at.0, at.1, "more bytes of scalars than are read"));
                    }
                    self.tree.text.push_str(&value);
                    let kind = if quoted_implicit { Kind::Quoted } else { Kind::Plain };
                    self.add(kind, anchor, tag, (position(start), position(value.len())), at)?;
                }
                EventData::SequenceStart { anchor, tag, style, .. } => {
                    self.begin(Kind::List, anchor, tag, style == SequenceStyle::Flow, at)?;
                }
                EventData::MappingStart { anchor, tag, style, .. } => {
                    self.begin(Kind::Map, anchor, tag, style == MappingStyle::Flow, at)?;
                }
                EventData::SequenceEnd | EventData::MappingEnd => self.end(),
            }
        }
    }

    fn add(
        &mut self,
        kind: Kind,
        anchor: Option<String>,
        tag: Option<String>,
        (start, length): (u32, u32),
        (line, column): (u32, u32),
    ) -> Result<u32, YamlError> {
        if self.tree.nodes.len() >= self.limits.nodes {
            return Err(refused(line, column, format!("more than {} nodes", self.limits.nodes)));
        }
        let index = self.tree.len();
        let tag = tag.map_or(0, |tag| self.tag(tag));
        self.tree.nodes.push(Node { kind, tag, line, column, start, length });
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, index);
        }
        if self.open.is_empty() {
            self.tree.root.get_or_insert(index);
        } else {
            self.pending.push(index);
        }
        Ok(index)
    }

    fn begin(
        &mut self,
        kind: Kind,
        anchor: Option<String>,
        tag: Option<String>,
        is_flow: bool,
        at: (u32, u32),
    ) -> Result<(), YamlError> {
        if self.open.len() >= self.limits.depth {
            return Err(refused(at.0, at.1, format!("nested deeper than {} levels", self.limits.depth)));
        }
        let index = self.add(kind, anchor, tag, (0, 0), at)?;
        self.open.push((index, self.pending.len(), is_flow));
        self.brackets += usize::from(is_flow);
        Ok(())
    }

    fn end(&mut self) {
        let Some((index, first, is_flow)) = self.open.pop() else { return };
        self.brackets -= usize::from(is_flow);
        let start = self.tree.children.len();
        self.tree.children.extend(self.pending.drain(first..));
        let node = &mut self.tree.nodes[index as usize];
        (node.start, node.length) = (position(start), position(self.tree.children.len() - start));
    }

    fn tag(&mut self, tag: String) -> u32 {
        if let Some(known) = self.tags.get(&tag) {
            return *known;
        }
        self.tree.tags.push(tag.clone());
        let number = position(self.tree.tags.len());
        self.tags.insert(tag, number);
        number
    }
}

/// The library panics when a block scalar ends with the text instead of a line break. A block scalar that has only the
/// line break added here ends without it, as in libyaml.
fn with_last_line_ended(text: &str) -> Cow<'_, str> {
    if text.ends_with(['\n', '\r']) { Cow::Borrowed(text) } else { Cow::Owned(format!("{text}\n")) }
}

fn syntax(error: &libyaml_safer::Error) -> YamlError {
    let mark = error.problem_mark().or(error.context_mark()).unwrap_or_default();
    refused(number(mark.line) + 1, number(mark.column) + 1, error.problem())
}

fn number(mark: u64) -> u32 {
    u32::try_from(mark).unwrap_or(u32::MAX - 1)
}

/// Texts are far below four gigabytes, see [`Limits::bytes`].
fn position(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
