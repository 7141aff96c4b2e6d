//! Writes and parses rtnetlink messages of a policy rule of IPv4 and of the local route that it leads to: RFC 3549
//! section 3.1.1 and the kernel's `fib_rules.h` and `rtnetlink.h`.

use boshy_netlink::{ACK, CREATE, DUMP, EXCLUSIVE, Message, Writer};

use super::route::{GET_ROUTE, IPV4, NEW_ROUTE, OURS, OUTPUT_DEVICE, ROUTE_HEADER, TABLE};

const DELETE_ROUTE: u16 = 25;
const NEW_RULE: u16 = 32;
const DELETE_RULE: u16 = 33;
const GET_RULE: u16 = 34;
/// `FR_ACT_TO_TBL`: look in a table.
const TO_TABLE: u8 = 1;
const PRIORITY: u16 = 6;
const MARK: u16 = 10;
const RULE_TABLE: u16 = 15;
const MASK: u16 = 16;
const RULE_PROTOCOL: u16 = 21;
const SCOPE_HOST: u8 = 254;
const LOCAL: u8 = 2;

/// A table of routes for packets of one mark, in which every address is this VM's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Which packets.
    pub(crate) mark: u32,
    /// The table, below 256. It is also the priority of its rule.
    pub(crate) table: u8,
    /// Index of loopback.
    pub(crate) loopback: u32,
}

/// One of the two things that a policy consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Rule,
    Route,
}

impl Policy {
    /// Adds a part. Fails with `EEXIST` when there is one in its place.
    pub(crate) fn add(&self, part: Part, sequence: u32) -> Writer {
        let kind = if part == Part::Rule { NEW_RULE } else { NEW_ROUTE };
        Writer::single(kind, ACK | CREATE | EXCLUSIVE, sequence, |writer| self.write(part, writer))
    }

    /// Deletes a part, if it has boshy's protocol number.
    pub(crate) fn delete(&self, part: Part, sequence: u32) -> Writer {
        let kind = if part == Part::Rule { DELETE_RULE } else { DELETE_ROUTE };
        Writer::single(kind, ACK, sequence, |writer| self.write(part, writer))
    }

    /// Asks for all rules or routes of IPv4.
    pub(crate) fn question(part: Part, sequence: u32) -> Writer {
        let kind = if part == Part::Rule { GET_RULE } else { GET_ROUTE };
        Writer::single(kind, DUMP, sequence, |writer| {
            writer.raw(&[IPV4]);
            writer.raw(&[0; ROUTE_HEADER - 1]);
        })
    }

    /// Whether an answer is exactly this part.
    pub(crate) fn is(&self, part: Part, message: &Message<'_>) -> bool {
        let [IPV4, 0, 0, _, table, protocol, scope, kind, ..] = *message.body else { return false };
        let attributes = message.attributes(ROUTE_HEADER);
        let number = |kind| attributes.u32_ne(kind);
        if number(TABLE).unwrap_or(table.into()) != u32::from(self.table) {
            return false;
        }
        match part {
            Part::Rule => {
                // A rule's header has its action where a route's has its kind.
                message.kind == NEW_RULE
                    && kind == TO_TABLE
                    && (number(MARK), number(MASK)) == (Some(self.mark), Some(u32::MAX))
                    && attributes.get(RULE_PROTOCOL) == Some(&[OURS])
            }
            Part::Route => {
                message.kind == NEW_ROUTE
                    && (protocol, scope, kind) == (OURS, SCOPE_HOST, LOCAL)
                    && number(OUTPUT_DEVICE) == Some(self.loopback)
            }
        }
    }

    fn write(&self, part: Part, writer: &mut Writer) {
        match part {
            Part::Rule => {
                writer.raw(&[IPV4, 0, 0, 0, self.table, 0, 0, TO_TABLE]);
                writer.raw(&[0; 4]);
                let numbers = [(PRIORITY, self.table.into()), (MARK, self.mark), (MASK, u32::MAX)];
                for (kind, number) in numbers.into_iter().chain([(RULE_TABLE, self.table.into())]) {
                    writer.u32_ne(kind, number);
                }
                writer.attribute(RULE_PROTOCOL, &[OURS]);
            }
            Part::Route => {
                writer.raw(&[IPV4, 0, 0, 0, self.table, OURS, SCOPE_HOST, LOCAL]);
                writer.raw(&[0; 4]);
                writer.u32_ne(OUTPUT_DEVICE, self.loopback);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use boshy_netlink::messages;

    use super::*;

    const POLICY: Policy = Policy { mark: 0x1234, table: 176, loopback: 1 };

    #[test]
    fn a_part_is_read_as_it_was_written_and_no_other_is_taken_for_it() {
        for part in [Part::Rule, Part::Route] {
            let written = POLICY.add(part, 1);
            let is =
                |policy: Policy, part| messages(written.bytes()).filter(|message| policy.is(part, message)).count();
            assert_eq!(is(POLICY, part), 1, "{part:?}");
            assert_eq!(is(Policy { table: 177, ..POLICY }, part), 0, "{part:?}");
            let other = if part == Part::Rule { Part::Route } else { Part::Rule };
            assert_eq!(is(POLICY, other), 0, "{part:?}");
            let deleted = POLICY.delete(part, 1);
            assert_eq!(messages(deleted.bytes()).filter(|message| POLICY.is(part, message)).count(), 0, "{part:?}");
        }
        let rule = POLICY.add(Part::Rule, 1);
        let other = Policy { mark: 0x1235, ..POLICY };
        assert!(messages(rule.bytes()).all(|message| !other.is(Part::Rule, &message)));
    }
}
