//! What was read back, and what is wrong with it.
//!
//! What is read comes in the same normal form as what is desired ([`Rule`]); what cannot be recognised stays text and is
//! therefore never equal to a desired rule. Order matters inside a chain and nowhere else.

use std::{fmt, net::SocketAddrV4};

use crate::ruleset::{Base, Chain, PAIRS, Pairs, Rule};

/// The own table as it was read back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Somebody switched the table off.
    pub dormant: bool,
    /// In any order.
    pub chains: Vec<ObservedChain>,
    /// Sets by name, and whether each is of the kind that pairs are kept in. In any order.
    pub sets: Vec<(String, bool)>,
    /// The elements of the set of pairs.
    pub pairs: Pairs,
}

/// A chain as it was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedChain {
    /// Its name.
    pub name: String,
    /// How it is hooked into the kernel, where it is.
    pub base: Option<Base>,
    /// In the order in which they are tried.
    pub rules: Vec<ObservedRule>,
}

/// A rule as it was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObservedRule {
    /// One that the model can express.
    Known(Rule),
    /// Any other, as the backend describes it.
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

/// One thing that is not as desired.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Deviation {
    /// Nothing of ours is there.
    #[error("all rules are missing")]
    AllMissing,
    /// The table does nothing.
    #[error("the table is switched off (dormant)")]
    Dormant,
    /// A chain is not there.
    #[error("chain {0} is missing")]
    ChainMissing(String),
    /// A chain in our table that we did not write.
    #[error("chain {0} is not ours")]
    ChainExtra(String),
    /// A chain is hooked in otherwise.
    #[error("chain {chain} is {}, not {}", shown(.found.as_ref()), shown(.wanted.as_ref()))]
    ChainOther {
        /// The chain.
        chain: String,
        /// As desired.
        wanted: Option<Base>,
        /// As it is.
        found: Option<Base>,
    },
    /// A rule is not there.
    #[error("chain {chain} lacks `{rule}`")]
    RuleMissing {
        /// The chain.
        chain: String,
        /// As desired.
        rule: Rule,
    },
    /// A rule in our chain that we did not write, or that is there twice.
    #[error("chain {chain} has `{rule}`, which is not ours")]
    RuleExtra {
        /// The chain.
        chain: String,
        /// As it is.
        rule: ObservedRule,
    },
    /// All rules are there, in another order.
    #[error("the rules of chain {0} are in another order")]
    Reordered(String),
    /// The set of pairs is not there, or is of another kind.
    #[error("the set {PAIRS} is missing")]
    SetMissing,
    /// A set in our table that we did not write.
    #[error("set {0} is not ours")]
    SetExtra(String),
    /// Pairs are not in their set.
    #[error("the set {PAIRS} lacks {count} pairs, {first} among them")]
    PairsMissing {
        /// How many.
        count: usize,
        /// The lowest of them.
        first: SocketAddrV4,
    },
    /// Pairs are in the set that we did not write.
    #[error("the set {PAIRS} has {count} pairs that are not ours, {first} among them")]
    PairsExtra {
        /// How many.
        count: usize,
        /// The lowest of them.
        first: SocketAddrV4,
    },
}

/// The rules are not as desired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// What is wrong; never empty.
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

/// What is wrong, in the order of the desired chains; empty when all is as desired.
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
