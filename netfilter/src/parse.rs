//! What `nft list table` and `iptables-save` print, in the normal form of the model.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::{
    difference::{Observed, ObservedChain, ObservedRule},
    ruleset::{Base, Layout, Match, Rule, Verdict},
};

/// Reads what `nft --numeric list table inet boshy` prints: tables at the margin, chains behind one tab, rules behind two.
///
/// The text and not the JSON, because nft 1.0.6 prints unrelated memory for a table's flags in the latter. Sets and the like are
/// passed over: what we write uses none.
pub(crate) fn nft_list(listing: &str) -> Observed {
    let mut observed = Observed::default();
    let mut in_chain = false;
    for line in listing.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (line.bytes().take_while(|byte| *byte == b'\t').count(), words.as_slice()) {
            (1, ["flags", flags]) => observed.dormant = flags.split(',').any(|flag| flag == "dormant"),
            (1, words) => {
                in_chain = false;
                if let ["chain", name, "{"] = words {
                    observed.chains.push(ObservedChain { name: (*name).to_owned(), base: None, rules: Vec::new() });
                    in_chain = true;
                }
            }
            (2.., words) if in_chain => {
                let Some(chain) = observed.chains.last_mut() else { continue };
                match nft_base(words) {
                    Some(base) => chain.base = Some(base),
                    None => chain.rules.push(observed_rule(nft_rule(words), line.trim())),
                }
            }
            _ => {}
        }
    }
    observed
}

fn nft_base(words: &[&str]) -> Option<Base> {
    let ["type", kind, "hook", hook, "priority", priority, "policy", policy] = words else { return None };
    let text = |word: &str| word.trim_end_matches(';').to_owned().into();
    let priority = priority.strip_suffix(';')?.parse().ok()?;
    Some(Base { kind: text(kind), hook: text(hook), priority, policy: text(policy) })
}

fn nft_rule(mut rest: &[&str]) -> Option<Rule> {
    let mut matches = Vec::new();
    loop {
        rest = match rest {
            ["ip", "daddr", network, tail @ ..] => {
                matches.push(Match::Destination(nft_network(network)?));
                tail
            }
            ["meta", "l4proto", "6" | "tcp", tail @ ..] => {
                matches.push(Match::Tcp);
                tail
            }
            ["tcp", "dport", port, tail @ ..] => {
                matches.push(Match::TcpPort(port.parse().ok()?));
                tail
            }
            ["jump", chain] => return Some(Rule { matches, verdict: Verdict::Jump((*chain).to_owned().into()) }),
            ["return"] => return Some(Rule { matches, verdict: Verdict::Return }),
            ["redirect", "to", port] => {
                return Some(Rule { matches, verdict: Verdict::Redirect(port.strip_prefix(':')?.parse().ok()?) });
            }
            _ => return None,
        };
    }
}

/// A single address is printed without its length.
fn nft_network(word: &str) -> Option<Ipv4Net> {
    word.parse().ok().or_else(|| word.parse::<Ipv4Addr>().ok().map(Ipv4Net::from))
}

fn observed_rule(known: Option<Rule>, text: &str) -> ObservedRule {
    known.map_or_else(|| ObservedRule::Foreign(text.to_owned()), ObservedRule::Known)
}

/// What `iptables-save -t nat` says about us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Saved {
    /// The own chain, and of the system's `OUTPUT` the jumps to it; `None` when there is neither.
    pub(crate) observed: Option<Observed>,
    /// The jumps as they were printed, without `-A`.
    pub(crate) jumps: Vec<String>,
}

/// Reads the text of `iptables-save -t nat`.
pub(crate) fn iptables_save(text: &str) -> Saved {
    let Layout { hook_chain, own_chain, .. } = Layout::IPTABLES;
    let mut jumps = Vec::new();
    let mut hook = ObservedChain { name: hook_chain.to_owned(), base: None, rules: Vec::new() };
    let mut own: Option<ObservedChain> = None;
    for line in text.lines() {
        let declared = line.strip_prefix(':').and_then(|rest| rest.split(' ').next());
        if declared == Some(own_chain) {
            own = Some(ObservedChain { name: own_chain.to_owned(), base: None, rules: Vec::new() });
        }
        let Some((chain, rule)) = line.strip_prefix("-A ").and_then(|rest| rest.split_once(' ')) else { continue };
        let observed = observed_rule(iptables_rule(rule), rule);
        if chain == own_chain {
            own.get_or_insert_with(|| ObservedChain { name: own_chain.to_owned(), base: None, rules: Vec::new() })
                .rules
                .push(observed);
        } else if chain == hook_chain && leads_to(rule, own_chain) {
            hook.rules.push(observed);
            jumps.push(format!("{chain} {rule}"));
        }
    }
    let present = own.is_some() || !jumps.is_empty();
    let chains = own.into_iter().chain([hook]).collect();
    Saved { observed: present.then_some(Observed { dormant: false, chains }), jumps }
}

fn leads_to(rule: &str, chain: &str) -> bool {
    let words: Vec<&str> = rule.split(' ').collect();
    words.windows(2).any(|pair| matches!(pair, ["-j" | "-g", target] if *target == chain))
}

fn iptables_rule(rule: &str) -> Option<Rule> {
    let words: Vec<&str> = rule.split(' ').collect();
    let mut rest = words.as_slice();
    let mut matches = Vec::new();
    loop {
        rest = match rest {
            ["-d", network, tail @ ..] => {
                matches.push(Match::Destination(network.parse().ok()?));
                tail
            }
            ["-p", "tcp", "-m", "tcp", "--dport", port, tail @ ..] => {
                matches.push(Match::TcpPort(port.parse().ok()?));
                tail
            }
            ["-p", "tcp", tail @ ..] => {
                matches.push(Match::Tcp);
                tail
            }
            ["-j", "RETURN"] => return Some(Rule { matches, verdict: Verdict::Return }),
            ["-j", "REDIRECT", "--to-ports", port] => {
                return Some(Rule { matches, verdict: Verdict::Redirect(port.parse().ok()?) });
            }
            ["-j", chain] => return Some(Rule { matches, verdict: Verdict::Jump((*chain).to_owned().into()) }),
            _ => return None,
        };
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
