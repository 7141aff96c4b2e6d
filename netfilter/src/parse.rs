//! What `nft -j list table` and `iptables-save` print, in the normal form of the model.

use ipnet::Ipv4Net;
use serde_json::Value;

use crate::{
    difference::{Observed, ObservedChain, ObservedRule},
    ruleset::{Base, Layout, Match, Rule, Verdict},
};

/// Reads the JSON of `nft -j list table inet boshy` (libnftables-json(5)).
///
/// # Errors
/// When it is not that: says where.
pub(crate) fn nft_list(listing: &str) -> Result<Observed, String> {
    let listing: Value = serde_json::from_str(listing).map_err(|error| error.to_string())?;
    let objects = listing["nftables"].as_array().ok_or("there is no list `nftables`")?;
    let mut observed = Observed::default();
    for object in objects {
        if let Some(table) = object.get("table") {
            observed.dormant = flags(&table["flags"]).any(|flag| flag == "dormant");
        } else if let Some(chain) = object.get("chain") {
            let name = chain["name"].as_str().ok_or("a chain has no name")?.to_owned();
            observed.chains.push(ObservedChain { name, base: nft_base(chain), rules: Vec::new() });
        } else if let Some(rule) = object.get("rule") {
            let chain = observed.chains.iter_mut().find(|chain| rule["chain"] == chain.name.as_str());
            let known = nft_rule(&rule["expr"]);
            let rule = known.map_or_else(|| ObservedRule::Foreign(rule["expr"].to_string()), ObservedRule::Known);
            chain.ok_or("a rule is in no chain")?.rules.push(rule);
        }
    }
    Ok(observed)
}

/// One flag is printed as a text, several as a list.
fn flags(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().chain([value]).filter_map(Value::as_str)
}

fn nft_base(chain: &Value) -> Option<Base> {
    let text = |key: &str| chain[key].as_str().map(|text| text.to_owned().into());
    let priority = i32::try_from(chain["prio"].as_i64()?).ok()?;
    Some(Base { kind: text("type")?, hook: text("hook")?, priority, policy: text("policy")? })
}

fn nft_rule(expressions: &Value) -> Option<Rule> {
    let (last, conditions) = expressions.as_array()?.split_last()?;
    let matches = conditions.iter().map(|each| nft_match(&each["match"])).collect::<Option<_>>()?;
    Some(Rule { matches, verdict: nft_verdict(last)? })
}

fn nft_match(value: &Value) -> Option<Match> {
    if value["op"] != "==" {
        return None;
    }
    let (left, right) = (&value["left"], &value["right"]);
    let payload = (left["payload"]["protocol"].as_str(), left["payload"]["field"].as_str());
    match payload {
        (Some("ip"), Some("daddr")) => nft_network(right).map(Match::Destination),
        (Some("tcp"), Some("dport")) => port(right).map(Match::TcpPort),
        // Without /etc/protocols the number is printed.
        (None, None) if left["meta"]["key"] == "l4proto" && (right == "tcp" || right == 6) => Some(Match::Tcp),
        _ => None,
    }
}

fn nft_network(value: &Value) -> Option<Ipv4Net> {
    let (address, length) = match value.as_str() {
        Some(address) => (address, 32),
        None => (value["prefix"]["addr"].as_str()?, value["prefix"]["len"].as_u64()?),
    };
    Ipv4Net::new(address.parse().ok()?, u8::try_from(length).ok()?).ok()
}

fn nft_verdict(value: &Value) -> Option<Verdict> {
    let (name, detail) = value.as_object()?.iter().next()?;
    match name.as_str() {
        "jump" => Some(Verdict::Jump(detail["target"].as_str()?.to_owned().into())),
        "return" => Some(Verdict::Return),
        "redirect" if detail.as_object()?.len() == 1 => port(&detail["port"]).map(Verdict::Redirect),
        _ => None,
    }
}

fn port(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|port| u16::try_from(port).ok())
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
        let observed = iptables_rule(rule).map_or_else(|| ObservedRule::Foreign(rule.to_owned()), ObservedRule::Known);
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
