//! Parses `record_infos` row by row. Each row is kept or dropped before the next one is read, so that the rows are not
//! held in memory a second time.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::{Address, Record, cell::Cell};

/// Column positions by name.
pub(crate) struct Columns(Vec<Option<String>>);

impl Columns {
    pub(crate) fn new(keys: &[Cell<'_>]) -> Self {
        Self(keys.iter().map(Cell::text).collect())
    }

    fn cell<'c, 'a>(&self, row: &'c [Cell<'a>], key: &str) -> Option<&'c Cell<'a>> {
        row.get(self.0.iter().position(|known| known.as_deref() == Some(key))?)
    }

    /// The record, or the column that cannot be parsed. Columns that only name a thing may be missing; the id and the
    /// address may not.
    fn record(&self, row: &[Cell<'_>]) -> Result<Record, String> {
        let text = |key: &str| self.cell(row, key).and_then(Cell::text);
        let named = |key: &str| text(key).unwrap_or_default();
        let id = text("id").filter(|id| !id.is_empty()).ok_or("id: is missing, or no text")?;
        let written = text("ip").ok_or("ip: is missing, or no text")?;
        let address = Address::parse(&written).ok_or_else(|| format!("ip: {written:?} is no IP address"))?;
        let group_ids = match self.cell(row, "group_ids") {
            Some(Cell::List(ids)) => ids.iter().filter_map(Cell::text).collect(),
            _ => Vec::new(),
        };
        Ok(Record {
            id,
            num_id: named("num_id"),
            instance_group: named("instance_group"),
            group_ids,
            az: text("az"),
            az_id: text("az_id"),
            network: named("network"),
            network_id: named("network_id"),
            deployment: named("deployment"),
            address,
            domain: named("domain"),
            agent_id: text("agent_id"),
            index: self.cell(row, "instance_index").and_then(Cell::number),
        })
    }
}

/// Collects the wanted rows.
pub(crate) struct Infos<K> {
    columns: Columns,
    keep: K,
    max_named: usize,
    pub(crate) rows: Vec<Record>,
    pub(crate) unreadable: Vec<String>,
    pub(crate) unreadable_rows: usize,
}

impl<K: FnMut(&Record) -> bool> Infos<K> {
    pub(crate) fn new(columns: Columns, keep: K, max_named: usize) -> Self {
        Self { columns, keep, max_named, rows: Vec::new(), unreadable: Vec::new(), unreadable_rows: 0 }
    }

    /// Parses the file. Returns whether it contains a list of rows.
    pub(crate) fn read(&mut self, text: &[u8]) -> Result<bool, serde_json::Error> {
        let mut json = serde_json::Deserializer::from_slice(text);
        let found = json.deserialize_map(FileVisitor(self))?;
        json.end()?;
        Ok(found)
    }

    fn take(&mut self, index: usize, row: &Cell<'_>) {
        let record = match row {
            Cell::List(cells) => self.columns.record(cells).map_err(|reason| format!("record_infos[{index}].{reason}")),
            _ => Err(format!("record_infos[{index}]: is no list")),
        };
        match record {
            Ok(record) if (self.keep)(&record) => self.rows.push(record),
            Ok(_) => {}
            Err(reason) => {
                self.unreadable_rows += 1;
                if self.unreadable.len() < self.max_named {
                    self.unreadable.push(reason);
                }
            }
        }
    }
}

struct FileVisitor<'i, K>(&'i mut Infos<K>);

impl<'de, K: FnMut(&Record) -> bool> Visitor<'de> for FileVisitor<'_, K> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut found = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "record_infos" {
                found = map.next_value_seed(RowsSeed(&mut *self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

struct RowsSeed<'i, K>(&'i mut Infos<K>);

impl<'de, K: FnMut(&Record) -> bool> DeserializeSeed<'de> for RowsSeed<'_, K> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<bool, D::Error> {
        value.deserialize_seq(self)
    }
}

impl<'de, K: FnMut(&Record) -> bool> Visitor<'de> for RowsSeed<'_, K> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        let mut index = 0;
        while let Some(row) = list.next_element::<Cell<'de>>()? {
            self.0.take(index, &row);
            index += 1;
        }
        Ok(true)
    }
}
