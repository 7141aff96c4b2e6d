//! What an agent keeps of the file: who has which address.

use std::{cmp::Ordering, collections::HashSet, net::IpAddr, sync::Arc};

use crate::{Record, Records, RecordsError};

/// Who has which address, in little memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// As in [`Records::version`].
    pub version: u64,
    /// Sorted by deployment, group and address.
    places: Vec<Place>,
    /// Positions in `places`, sorted by address.
    by_address: Vec<u32>,
    /// Whether a row could not be parsed, so that a place may be missing.
    has_gaps: bool,
}

/// An address of an instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Deployment, in the form of DNS names, as are all names here.
    pub deployment: Arc<str>,
    /// Instance group.
    pub group: Arc<str>,
    /// The address.
    pub ip: IpAddr,
    /// UUID of the instance.
    pub id: Box<str>,
    /// Network of the address.
    pub network: Arc<str>,
    /// Availability zone.
    pub az: Option<Arc<str>>,
}

impl View {
    /// Parses the file.
    ///
    /// # Errors
    /// As for [`Records::read`].
    pub fn read(text: &[u8]) -> Result<Self, RecordsError> {
        let (mut places, mut names) = (Vec::new(), HashSet::new());
        let rest = Records::read_where(text, |row| {
            places.extend(place(row, &mut names));
            false
        })?;
        Ok(Self { version: rest.version, has_gaps: rest.unreadable_rows > 0, ..Self::of(places) })
    }

    /// An instance that is missing in a file with unreadable rows is where it was before.
    #[must_use]
    pub fn after(self, before: &Self) -> Self {
        if !self.has_gaps {
            return self;
        }
        let known: HashSet<&str> = self.places.iter().map(|place| &*place.id).collect();
        let missing = before.places.iter().filter(|place| !known.contains(&*place.id));
        let places = self.places.iter().chain(missing).cloned().collect();
        Self { version: self.version, has_gaps: true, ..Self::of(places) }
    }

    fn of(mut places: Vec<Place>) -> Self {
        places.sort_unstable();
        let mut by_address: Vec<u32> = (0..u32::try_from(places.len()).unwrap_or(u32::MAX)).collect();
        by_address.sort_by_key(|position| places[*position as usize].ip);
        Self { places, by_address, ..Self::default() }
    }

    /// The places of a group.
    pub fn of_group(&self, deployment: &str, group: &str) -> &[Place] {
        let key = |place: &Place| (&*place.deployment, &*place.group).cmp(&(deployment, group));
        let from = self.places.partition_point(|place| key(place).is_lt());
        let count = self.places[from..].partition_point(|place| key(place).is_eq());
        &self.places[from..from + count]
    }

    /// The groups whose places are not the same in another state, each as `GROUP.DEPLOYMENT`.
    pub(crate) fn groups_changed_since(&self, before: &Self) -> HashSet<Box<str>> {
        let (mut new, mut old) = (self.places.iter().peekable(), before.places.iter().peekable());
        let mut changed = HashSet::new();
        loop {
            let order = match (new.peek(), old.peek()) {
                (None, None) => return changed,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(new), Some(old)) => new.cmp(old),
            };
            let place = if order.is_le() { new.next() } else { None };
            let other = if order.is_ge() { old.next() } else { None };
            if let Some(place) = place.or(other).filter(|_| order.is_ne()) {
                changed.insert(format!("{}.{}", place.group, place.deployment).into());
            }
        }
    }

    /// The places at an address: one, unless an instance that was stopped hard keeps it in the file.
    pub fn at(&self, ip: IpAddr) -> impl Iterator<Item = &Place> {
        let from = self.by_address.partition_point(|position| self.places[*position as usize].ip < ip);
        let places = self.by_address[from..].iter().map(|position| &self.places[*position as usize]);
        places.take_while(move |place| place.ip == ip)
    }
}

/// A block of addresses is routed to a VM, and is nobody's endpoint.
fn place(row: &Record, names: &mut HashSet<Arc<str>>) -> Option<Place> {
    let mut name = |text: &str| match names.get(text) {
        Some(known) => Arc::clone(known),
        None => {
            let new: Arc<str> = text.into();
            names.insert(Arc::clone(&new));
            new
        }
    };
    (!row.address.is_block()).then(|| Place {
        deployment: name(&row.deployment),
        group: name(&row.instance_group),
        ip: row.address.ip,
        id: row.id.as_str().into(),
        network: name(&row.network),
        az: row.az.as_deref().map(name),
    })
}
