//! What an agent waits for: that it was told certain resources, or their removal.

use std::collections::HashMap;

use boshy_xds::{ResourceType, session::client::MARK};
use bytes::Bytes;

use crate::wire::Response;

/// One thing that an agent is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    /// A response of any kind.
    Response,
    /// Any resource of a type.
    Any(ResourceType),
    /// A resource of this name.
    Set(ResourceType, Bytes),
    /// That there is no resource of this name.
    Removed(ResourceType, Bytes),
}

/// A set of items, each of which has a bit.
#[derive(Debug, Default)]
pub(crate) struct Awaited(HashMap<Item, u32>);

impl Awaited {
    /// # Panics
    /// For more than 128 items.
    pub(crate) fn new(items: impl IntoIterator<Item = Item>) -> Self {
        let mut awaited = HashMap::new();
        for item in items {
            let next = awaited.len() as u32;
            awaited.entry(item).or_insert(next);
        }
        assert!(awaited.len() <= 128, "an agent waits for at most 128 things");
        Self(awaited)
    }

    /// That all resources of all types have been sent.
    pub(crate) fn everything() -> Self {
        Self::new(ResourceType::OF_PILOTS.map(|kind| Item::Removed(kind, MARK.into())))
    }

    /// All items.
    pub(crate) fn all(&self) -> u128 {
        u128::MAX.checked_shr(128 - self.0.len() as u32).unwrap_or(0)
    }

    /// The items that a response brings.
    pub(crate) fn met_by(&self, kind: ResourceType, response: &Response) -> u128 {
        if self.0.is_empty() {
            return 0;
        }
        let set = response.resources.iter().map(|resource| Item::Set(kind, resource.name.clone()));
        let removed = response.removed.iter().map(|name| Item::Removed(kind, name.clone()));
        let any = (!response.resources.is_empty()).then_some(Item::Any(kind));
        let items = set.chain(removed).chain(any).chain([Item::Response]);
        items.filter_map(|item| self.0.get(&item)).fold(0, |met, bit| met | 1 << bit)
    }
}

#[cfg(test)]
mod tests {
    use ResourceType::{Cluster, Listener};

    use super::*;
    use crate::wire::Resource;

    fn response(set: &[&'static str], removed: &[&'static str]) -> Response {
        let resource = |name: &&'static str| Resource { name: (*name).into(), ..Resource::default() };
        Response {
            resources: set.iter().map(resource).collect(),
            removed: removed.iter().map(|name| (*name).into()).collect(),
            ..Response::default()
        }
    }

    #[test]
    fn each_item_is_met_by_what_it_names() {
        let awaited = Awaited::new([
            Item::Set(Cluster, "a".into()),
            Item::Removed(Cluster, "b".into()),
            Item::Any(Listener),
            Item::Set(Cluster, "a".into()),
        ]);
        assert_eq!(awaited.all(), 0b111);
        assert_eq!(awaited.met_by(Cluster, &response(&["a", "c"], &[])), 0b001);
        assert_eq!(awaited.met_by(Cluster, &response(&["b"], &["a", "b"])), 0b010);
        assert_eq!(awaited.met_by(Listener, &response(&[], &["x"])), 0);
        assert_eq!(awaited.met_by(Listener, &response(&["x"], &[])), 0b100);
    }

    #[test]
    fn nothing_is_awaited_of_an_empty_set_and_any_response_of_another() {
        assert_eq!(Awaited::default().all(), 0);
        assert_eq!(Awaited::new([Item::Response]).met_by(Cluster, &response(&[], &[])), 1);
        let many = Awaited::new((0..128).map(|number: u8| Item::Set(Cluster, vec![number].into())));
        assert_eq!(many.all(), u128::MAX);
    }
}
