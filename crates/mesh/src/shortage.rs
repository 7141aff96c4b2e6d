//! Reports names without an address to the operator.

use std::{collections::BTreeMap, fmt::Write};

use crate::{Hostname, LeaseRules, Place, Problem, Reconciled, Shortage};

/// Number of names shown in one sentence.
const SHOWN: usize = 3;

impl Reconciled {
    /// One problem for each deployment and cause.
    pub fn problems(&self, rules: &LeaseRules) -> Vec<Problem> {
        let mut groups: BTreeMap<(&str, u8), (Shortage, Vec<&Hostname>)> = BTreeMap::new();
        for (host, refusal) in &self.refused {
            let kind = match refusal.shortage {
                Shortage::Exhausted => 0,
                Shortage::Share(_) => 1,
                Shortage::Unwritten => 2,
            };
            let group = groups.entry((refusal.owner.deployment.as_str(), kind));
            // The last limit is the one to report: earlier assignments have lowered it.
            let (shortage, hosts) = group.or_insert((refusal.shortage, Vec::new()));
            *shortage = refusal.shortage;
            hosts.push(host);
        }
        let problem = |((deployment, _), (shortage, hosts)): ((&str, _), (Shortage, Vec<_>))| {
            Problem::new(Place::deployment(deployment), sentence(shortage, &hosts, rules))
        };
        groups.into_iter().map(problem).collect()
    }
}

fn sentence(shortage: Shortage, hosts: &[&Hostname], rules: &LeaseRules) -> String {
    let LeaseRules { range, share, .. } = rules;
    let names = names(hosts);
    match shortage {
        Shortage::Exhausted => {
            format!("no virtual IP is free in vip_range {range} for {names}; choose a larger vip_range")
        }
        Shortage::Share(limit) => format!(
            "has the {limit} virtual IPs that one deployment may have now (vip_share: {share} of what the others leave of the {} in \
             vip_range {range}), and gets none for {names}; choose a larger vip_range or a larger vip_share",
            range.capacity()
        ),
        Shortage::Unwritten => format!(
            "no virtual IP is given to {names} before it can be written down; see `lacking` for what the disk says"
        ),
    }
}

fn names(hosts: &[&Hostname]) -> String {
    let mut text = hosts.iter().take(SHOWN).map(|host| host.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(more) = hosts.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        write!(text, " and {more} more").expect("a string takes every write");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LeaseRefusal, Origin, Tld, VipRange, VipShare};

    #[test]
    fn many_names_of_one_deployment_are_one_sentence() {
        let owner = Origin { deployment: "big".into(), group: "web".into(), job: "app".into() };
        let host = |number: u32| Hostname::of_service(&format!("j{number}"), "web", "big", &Tld::default()).unwrap();
        let refusal = LeaseRefusal { owner, shortage: Shortage::Share(127) };
        let refused = (0..5).map(|number| (host(number), refusal.clone())).collect();
        let rules = LeaseRules {
            range: VipRange::default(),
            quarantine: std::time::Duration::ZERO,
            share: VipShare::default(),
        };
        let problems = Reconciled { refused, ..Reconciled::default() }.problems(&rules);
        let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
        let wanted = r#"deployment "big": has the 127 virtual IPs that one deployment may have now (vip_share: 50 percent of what the others leave of the 254 in vip_range 169.254.255.0/24), and gets none for j0.web.big.boshy, j1.web.big.boshy, j2.web.big.boshy and 2 more; choose a larger vip_range or a larger vip_share"#;
        assert_eq!(texts, [wanted]);
    }
}
