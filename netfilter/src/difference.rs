//! The rules as read back, and their deviations from the desired ones.
//!
//! Rules are read back into the same normal form as the desired ones ([`Rule`]). A rule that cannot be recognised stays
//! text, and so never equals a desired rule. The order matters inside a chain and nowhere else.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    ruleset::{Base, Chain, Rule, Ruleset},
    set::{Element, Pairs, Ports, Set, Sets},
};

/// boshy's own table, as read back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Whether the table is disabled (dormant).
    pub dormant: bool,
    /// In any order.
    pub chains: Vec<ObservedChain>,
    /// Sets by name.
    pub sets: BTreeMap<String, ObservedSet>,
}

impl Observed {
    /// Adds a rule to the end of a chain, if there is such a chain.
    pub(crate) fn push_rule(&mut self, chain: &str, rule: ObservedRule) {
        if let Some(chain) = self.chains.iter_mut().find(|found| found.name == chain) {
            chain.rules.push(rule);
        }
    }

    /// The pairs of a set; empty when it is missing, foreign, or a set of ports.
    pub fn pairs(&self, set: &str) -> Arc<Pairs> {
        self.known(set).map_or_else(Arc::default, Set::pairs)
    }

    /// The ports of a set; empty when it is missing or foreign.
    pub fn ports(&self, set: &str) -> Arc<Ports> {
        self.known(set).map_or_else(Arc::default, Set::ports)
    }

    fn known(&self, set: &str) -> Option<&Set> {
        match self.sets.get(set)? {
            ObservedSet::Known(set) => Some(set),
            ObservedSet::Foreign => None,
        }
    }
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

/// A set, as read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObservedSet {
    /// A set of a kind that the model has, with its elements.
    Known(Set),
    /// Any other set.
    Foreign,
}

/// A rule, as read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObservedRule {
    /// A rule that the model can express.
    Known(Rule),
    /// Any other rule: its expressions, for people.
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
    /// A set is missing, or has another type.
    #[error("the set {0} is missing")]
    SetMissing(String),
    /// The table contains a set that boshy did not write.
    #[error("set {0} is not ours")]
    SetExtra(String),
    /// A set lacks elements.
    #[error("the set {set} lacks {count} elements, {first} among them")]
    ElementsMissing {
        /// Name of the set.
        set: String,
        /// Number of missing elements.
        count: usize,
        /// The lowest missing element.
        first: Element,
    },
    /// A set contains elements that boshy did not write.
    #[error("the set {set} has {count} elements that are not ours, {first} among them")]
    ElementsExtra {
        /// Name of the set.
        set: String,
        /// Number of these elements.
        count: usize,
        /// The lowest of them.
        first: Element,
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

/// All deviations, in the order of the desired chains and sets; empty when the state is as desired.
pub fn difference(desired: &Ruleset, observed: Option<&Observed>) -> Vec<Deviation> {
    let Some(observed) = observed else { return vec![Deviation::AllMissing] };
    let mut wrong = Vec::new();
    if observed.dormant {
        wrong.push(Deviation::Dormant);
    }
    for chain in &desired.chains {
        match observed.chains.iter().find(|found| found.name == chain.name) {
            Some(found) => compare_chain(chain, found, &mut wrong),
            None => wrong.push(Deviation::ChainMissing(chain.name.to_owned())),
        }
    }
    let ours = |name: &str| desired.chains.iter().any(|chain| chain.name == name);
    let extra = observed.chains.iter().filter(|found| !ours(&found.name));
    wrong.extend(extra.map(|found| Deviation::ChainExtra(found.name.clone())));
    compare_sets(&desired.sets, observed, &mut wrong);
    wrong
}

fn compare_sets(desired: &Sets, observed: &Observed, wrong: &mut Vec<Deviation>) {
    for (name, set) in desired {
        match observed.sets.get(*name) {
            Some(ObservedSet::Known(found)) if found.kind() == set.kind() => compare_elements(name, set, found, wrong),
            Some(_) | None => wrong.push(Deviation::SetMissing((*name).to_owned())),
        }
    }
    let extra = observed.sets.keys().filter(|name| !desired.contains_key(name.as_str()));
    wrong.extend(extra.map(|name| Deviation::SetExtra(name.clone())));
}

fn compare_elements(name: &str, wanted: &Set, found: &Set, wrong: &mut Vec<Deviation>) {
    let (missing, extra) = (wanted.without(found), found.without(wanted));
    let set = || name.to_owned();
    let of = |elements: &[Element]| elements.first().map(|first| (elements.len(), *first));
    wrong.extend(of(&missing).map(|(count, first)| Deviation::ElementsMissing { set: set(), count, first }));
    wrong.extend(of(&extra).map(|(count, first)| Deviation::ElementsExtra { set: set(), count, first }));
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
