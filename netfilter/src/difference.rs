//! The rules as read back, and their deviations from the desired ones.
//!
//! Rules are read back into the same normal form as the desired ones ([`Rule`]). A rule that cannot be recognised stays
//! text, and so never equals a desired rule. The order matters inside a chain and nowhere else.

use std::{fmt, net::SocketAddrV4};

use crate::ruleset::{Base, Chain, PAIRS, Pairs, Rule};

/// boshy's own table, as read back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Whether the table is disabled (dormant).
    pub dormant: bool,
    /// In any order.
    pub chains: Vec<ObservedChain>,
    /// Sets by name, and whether each has the type of the set of pairs. In any order.
    pub sets: Vec<(String, bool)>,
    /// The elements of the set of pairs.
    pub pairs: Pairs,
}

/// A chain, as read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedChain {
    /// Name of the chain.
    pub name: String,
    /// Its hook, for a base chain.
    pub base: Option<Base>,
    /// Rules in the order of evaluation.
    pub rules: Vec<ObservedRule>,
}

/// A rule, as read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObservedRule {
    /// A rule that the model can express.
    Known(Rule),
    /// Any other rule, as the backend describes it.
    Foreign(String),
}

impl fmt::Display for ObservedRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(rule) => rule.fmt(f),
            Self::Foreign(text) => f.write_str(text),
        }
    }
}

/// One deviation from the desired state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Deviation {
    /// The table is missing.
    #[error("all rules are missing")]
    AllMissing,
    /// The table is disabled.
    #[error("the table is switched off (dormant)")]
    Dormant,
    /// A chain is missing.
    #[error("chain {0} is missing")]
    ChainMissing(String),
    /// The table contains a chain that boshy did not write.
    #[error("chain {0} is not ours")]
    ChainExtra(String),
    /// A chain has another hook.
    #[error("chain {chain} is {}, not {}", shown(.found.as_ref()), shown(.wanted.as_ref()))]
    ChainOther {
        /// Name of the chain.
        chain: String,
        /// Desired hook.
        wanted: Option<Base>,
        /// Actual hook.
        found: Option<Base>,
    },
    /// A rule is missing.
    #[error("chain {chain} lacks `{rule}`")]
    RuleMissing {
        /// Name of the chain.
        chain: String,
        /// Desired rule.
        rule: Rule,
    },
    /// A chain contains a rule that boshy did not write, or a duplicate.
    #[error("chain {chain} has `{rule}`, which is not ours")]
    RuleExtra {
        /// Name of the chain.
        chain: String,
        /// Actual rule.
        rule: ObservedRule,
    },
    /// All rules are present, in another order.
    #[error("the rules of chain {0} are in another order")]
    Reordered(String),
    /// The set of pairs is missing, or has another type.
    #[error("the set {PAIRS} is missing")]
    SetMissing,
    /// The table contains a set that boshy did not write.
    #[error("set {0} is not ours")]
    SetExtra(String),
    /// The set lacks pairs.
    #[error("the set {PAIRS} lacks {count} pairs, {first} among them")]
    PairsMissing {
        /// Number of missing pairs.
        count: usize,
        /// The lowest missing pair.
        first: SocketAddrV4,
    },
    /// The set contains pairs that boshy did not write.
    #[error("the set {PAIRS} has {count} pairs that are not ours, {first} among them")]
    PairsExtra {
        /// Number of these pairs.
        count: usize,
        /// The lowest of them.
        first: SocketAddrV4,
    },
}

/// The rules deviate from the desired ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The deviations; never empty.
    pub deviations: Vec<Deviation>,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, deviation) in self.deviations.iter().enumerate() {
            write!(f, "{}{deviation}", if place == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

fn shown(base: Option<&Base>) -> String {
    base.map_or_else(|| "not hooked in".to_owned(), |base| format!("`{base}`"))
}

/// All deviations, in the order of the desired chains; empty when the state is as desired.
pub fn difference(desired: &[Chain], pairs: &Pairs, observed: Option<&Observed>) -> Vec<Deviation> {
    let Some(observed) = observed else { return vec![Deviation::AllMissing] };
    let mut wrong = Vec::new();
    if observed.dormant {
        wrong.push(Deviation::Dormant);
    }
    for chain in desired {
        match observed.chains.iter().find(|found| found.name == chain.name) {
            Some(found) => compare_chain(chain, found, &mut wrong),
            None => wrong.push(Deviation::ChainMissing(chain.name.to_owned())),
        }
    }
    let extra = observed.chains.iter().filter(|found| desired.iter().all(|chain| found.name != chain.name));
    wrong.extend(extra.map(|found| Deviation::ChainExtra(found.name.clone())));
    compare_pairs(pairs, observed, &mut wrong);
    wrong
}

fn compare_pairs(wanted: &Pairs, observed: &Observed, wrong: &mut Vec<Deviation>) {
    if observed.sets.iter().any(|(name, fit)| name == PAIRS && *fit) {
        let (count, mut missing) = (wanted.difference(&observed.pairs).count(), wanted.difference(&observed.pairs));
        wrong.extend(missing.next().map(|first| Deviation::PairsMissing { count, first: *first }));
        let (count, mut extra) = (observed.pairs.difference(wanted).count(), observed.pairs.difference(wanted));
        wrong.extend(extra.next().map(|first| Deviation::PairsExtra { count, first: *first }));
    } else {
        wrong.push(Deviation::SetMissing);
    }
    let extra = observed.sets.iter().filter(|(name, _)| name != PAIRS);
    wrong.extend(extra.map(|(name, _)| Deviation::SetExtra(name.clone())));
}

fn compare_chain(wanted: &Chain, found: &ObservedChain, wrong: &mut Vec<Deviation>) {
    let chain = || wanted.name.to_owned();
    if wanted.base != found.base {
        wrong.push(Deviation::ChainOther { chain: chain(), wanted: wanted.base.clone(), found: found.base.clone() });
    }
    let as_wanted = |(rule, seen): (&Rule, &ObservedRule)| matches!(seen, ObservedRule::Known(seen) if seen == rule);
    if wanted.rules.len() == found.rules.len() && wanted.rules.iter().zip(&found.rules).all(as_wanted) {
        return;
    }
    let mut extra: Vec<&ObservedRule> = found.rules.iter().collect();
    let mut missing = Vec::new();
    for rule in &wanted.rules {
        match extra.iter().position(|seen| as_wanted((rule, seen))) {
            Some(place) => drop(extra.remove(place)),
            None => missing.push(rule),
        }
    }
    if missing.is_empty() && extra.is_empty() {
        wrong.push(Deviation::Reordered(chain()));
    }
    wrong.extend(missing.into_iter().map(|rule| Deviation::RuleMissing { chain: chain(), rule: rule.clone() }));
    wrong.extend(extra.into_iter().map(|rule| Deviation::RuleExtra { chain: chain(), rule: rule.clone() }));
}

#[cfg(test)]
#[path = "difference_tests.rs"]
mod tests;
