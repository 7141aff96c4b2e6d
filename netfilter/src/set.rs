//! Sets that rules look packets up in, and their elements.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddrV4,
    sync::Arc,
};

/// Destination addresses and ports.
pub type Pairs = BTreeSet<SocketAddrV4>;

/// Destination ports, at any address of either family.
pub type Ports = BTreeSet<u16>;

/// Sets by name, with their elements.
pub type Sets = BTreeMap<&'static str, Set>;

/// A set with its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Set {
    /// Of addresses and ports.
    Pairs(Arc<Pairs>),
    /// Of ports.
    Ports(Arc<Ports>),
}

/// What the elements of a set are. The kernel does not change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetKind {
    /// Addresses and ports.
    Pairs,
    /// Ports.
    Ports,
}

/// An element of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// Address and port.
    Pair(SocketAddrV4),
    /// A port.
    Port(u16),
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pair(pair) => pair.fmt(f),
            Self::Port(port) => write!(f, "port {port}"),
        }
    }
}

impl Set {
    /// Elements of one kind. Those of the other are left out.
    pub(crate) fn of(kind: SetKind, elements: impl IntoIterator<Item = Element>) -> Self {
        let elements = elements.into_iter();
        match kind {
            SetKind::Pairs => Self::Pairs(Arc::new(elements.filter_map(Element::pair).collect())),
            SetKind::Ports => Self::Ports(Arc::new(elements.filter_map(Element::port).collect())),
        }
    }

    pub(crate) fn kind(&self) -> SetKind {
        match self {
            Self::Pairs(_) => SetKind::Pairs,
            Self::Ports(_) => SetKind::Ports,
        }
    }

    /// Its addresses and ports; none of a set of ports.
    pub fn pairs(&self) -> Arc<Pairs> {
        match self {
            Self::Pairs(pairs) => Arc::clone(pairs),
            Self::Ports(_) => Arc::default(),
        }
    }

    /// Its ports.
    pub fn ports(&self) -> Arc<Ports> {
        match self {
            Self::Pairs(pairs) => Arc::new(pairs.iter().map(SocketAddrV4::port).collect()),
            Self::Ports(ports) => Arc::clone(ports),
        }
    }

    /// Its elements in order.
    pub(crate) fn elements(&self) -> Vec<Element> {
        match self {
            Self::Pairs(pairs) => pairs.iter().copied().map(Element::Pair).collect(),
            Self::Ports(ports) => ports.iter().copied().map(Element::Port).collect(),
        }
    }

    /// The elements that another set of the same kind does not have, in order.
    pub(crate) fn without(&self, other: &Self) -> Vec<Element> {
        match (self, other) {
            (Self::Pairs(own), Self::Pairs(other)) => own.difference(other).copied().map(Element::Pair).collect(),
            (Self::Ports(own), Self::Ports(other)) => own.difference(other).copied().map(Element::Port).collect(),
            _ => self.elements(),
        }
    }
}

impl Element {
    fn pair(self) -> Option<SocketAddrV4> {
        match self {
            Self::Pair(pair) => Some(pair),
            Self::Port(_) => None,
        }
    }

    fn port(self) -> Option<u16> {
        match self {
            Self::Pair(_) => None,
            Self::Port(port) => Some(port),
        }
    }
}
