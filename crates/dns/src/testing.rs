//! Shared by the tests of several modules.

use std::net::Ipv4Addr;

use boshy_mesh::{Hostname, NameTable, Tld};
use hickory_proto::{
    op::{Message, Query},
    rr::{Name, RecordType},
};

use crate::Zone;

/// A service that every test zone has.
pub(crate) const HTTPBIN: &str = "httpbin.banana.sample.boshy.";
/// Its address.
pub(crate) const HTTPBIN_VIP: Ipv4Addr = Ipv4Addr::new(169, 254, 255, 2);

pub(crate) fn table(names: &[(&str, Ipv4Addr)]) -> NameTable {
    names.iter().map(|(name, address)| (Hostname::parse(name).unwrap(), *address)).collect()
}

/// `boshy.` with one service and serial 7.
pub(crate) fn zone() -> Zone {
    Zone::build(&table(&[(HTTPBIN, HTTPBIN_VIP)]), &Tld::default(), 7)
}

pub(crate) fn query(name: &str, qtype: RecordType) -> Message {
    let mut query = Message::query();
    query.metadata.id = 0x1234;
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), qtype));
    query
}
