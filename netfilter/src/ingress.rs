//! The capture of exposed ports: what arrives at a port of this VM from outside is led to Envoy.
//!
//! ```text
//!   caller -> VM:PORT --prerouting--> VM:15006 (Envoy) --output, over lo--> VM:PORT (program)
//! ```
//!
//! Only the port is replaced. The address stays the one that the caller used, so the listeners are at the VM's own
//! addresses, whatever interface a connection arrives by. There is no loop: a connection that the VM opens passes the
//! output hook, where its addresses are settled, and the prerouting hook does not ask again. So Envoy's connection to
//! the program is not captured, and neither is a health check of the VM itself, at whichever of its addresses.
//!
//! Where programs are to see the addresses of callers, Envoy's connections to them have these as their source, and a
//! mark. The program's answers are for an address elsewhere, so they get the mark of their connection back, and with it
//! the route that leads to this VM ([`ReturnPath`](crate::ReturnPath)).

use std::sync::Arc;

use crate::{
    ruleset::{Base, Chain, Hook, Match, Policy, Rule, Ruleset, Verdict},
    set::{Pairs, Set},
};

/// Where captured connections are led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ingress {
    port: u16,
    mark: u32,
}

impl Ingress {
    /// The name of the set of captured ports in the own table.
    pub const SET: &str = "captured";
    /// The name of the chain that is there where programs see the addresses of callers.
    pub const RETURN: &str = "answers";

    /// Captured connections arrive at this port. Those that Envoy opens with a caller's address have this mark.
    pub fn new(port: u16, mark: u32) -> Self {
        Self { port, mark }
    }

    /// Adds the capture of these addresses and ports to the content of boshy's table. Without any, no hook is added but
    /// that of connections with a caller's address, which may outlive the capture.
    #[must_use]
    pub fn added_to(&self, mut ruleset: Ruleset, captured: &Arc<Pairs>, original_src: bool) -> Ruleset {
        if !captured.is_empty() {
            let capture = Rule::new([Match::DestinationIn(Self::SET.into())], Verdict::ToPort(self.port));
            ruleset.sets.insert(Self::SET, Set::Pairs(Arc::clone(captured)));
            ruleset.chains.push(chain("ingress", "nat", Hook::PREROUTING, -105, vec![capture]));
        }
        if original_src {
            let remember = Rule::new([Match::Mark(self.mark)], Verdict::MarkConnection(self.mark));
            let recall = Rule::new([Match::ConnectionMark(self.mark)], Verdict::Mark(self.mark));
            // A chain of this type routes a packet again whose mark has changed.
            ruleset.chains.push(chain(Self::RETURN, "route", Hook::OUTPUT, -150, vec![remember, recall]));
        }
        ruleset
    }
}

fn chain(name: &'static str, kind: &'static str, hook: Hook, priority: i32, rules: Vec<Rule>) -> Chain {
    Chain { name, base: Some(Base { kind: kind.into(), hook, priority, policy: Policy::ACCEPT }), rules }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(captured: &[&str], original_src: bool) -> Vec<String> {
        let captured = Arc::new(captured.iter().map(|pair| pair.parse().unwrap()).collect());
        let ruleset = Ingress::new(15006, 0x1234).added_to(Ruleset::default(), &captured, original_src);
        ruleset.chains.iter().flat_map(|chain| &chain.rules).map(ToString::to_string).collect()
    }

    #[test]
    fn nothing_is_added_without_a_captured_port_and_marks_only_where_addresses_are_kept() {
        assert_eq!(rules(&[], false), [""; 0]);
        let capture = "ip daddr . tcp dport @captured dnat to :15006";
        assert_eq!(rules(&["10.244.0.5:9000"], false), [capture]);
        let [remember, recall] =
            ["meta mark 0x00001234 ct mark set 0x00001234", "ct mark 0x00001234 meta mark set 0x00001234"];
        assert_eq!(rules(&["10.244.0.5:9000"], true), [capture, remember, recall]);
        assert_eq!(rules(&[], true), [remember, recall], "who is connected still needs them");
    }
}
