use super::*;
use crate::{
    difference::{Deviation, difference},
    render,
    ruleset::Ruleset,
};

const LISTING: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
  {"table": {"family": "inet", "name": "boshy", "handle": 1}},
  {"chain": {"family": "inet", "table": "boshy", "name": "output", "handle": 1, "type": "nat", "hook": "output", "prio": -105, "policy": "accept"}},
  {"chain": {"family": "inet", "table": "boshy", "name": "capture", "handle": 2}},
  {"rule": {"family": "inet", "table": "boshy", "chain": "output", "handle": 3, "expr": [
    {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": {"prefix": {"addr": "169.254.240.0", "len": 20}}}},
    {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "tcp"}}, {"jump": {"target": "capture"}}]}},
  {"rule": {"family": "inet", "table": "boshy", "chain": "capture", "handle": 4, "expr": [
    {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}}, {"return": null}]}},
  {"rule": {"family": "inet", "table": "boshy", "chain": "capture", "handle": 5, "expr": [
    {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": 6}}, {"counter": {"packets": 0, "bytes": 0}}, {"redirect": {"port": 15001}}]}}
]}"#;

fn ruleset() -> Ruleset {
    Ruleset::new("169.254.240.0/20".parse().unwrap(), 15001, []).unwrap()
}

#[test]
fn an_nft_listing_is_compared_rule_by_rule() {
    let observed = nft_list(LISTING).unwrap();
    let wrong = difference(&ruleset().table(&Layout::NFTABLES), Some(&observed));
    let texts: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    assert_eq!(texts[..3], [2822, 4222, 6868].map(|port| format!("chain capture lacks `tcp dport {port} return`")));
    assert_eq!(texts[3], "chain capture lacks `meta l4proto tcp redirect to :15001`");
    assert!(texts[4].contains("counter") && texts.len() == 5, "{texts:?}");
}

#[test]
fn a_dormant_table_is_seen_however_the_flag_is_printed() {
    for flags in [r#""dormant""#, r#"["dormant", "owner"]"#] {
        let listing =
            LISTING.replace(r#""name": "boshy", "handle": 1"#, &format!(r#""name": "boshy", "flags": {flags}"#));
        assert!(nft_list(&listing).unwrap().dormant, "{flags}");
    }
    assert!(!nft_list(LISTING).unwrap().dormant);
}

#[test]
fn what_is_no_listing_is_refused_with_its_place() {
    assert!(nft_list("").unwrap_err().contains("line 1"));
    assert_eq!(nft_list("{}").unwrap_err(), "there is no list `nftables`");
    assert_eq!(nft_list(r#"{"nftables": [{"rule": {"chain": "x"}}]}"#).unwrap_err(), "a rule is in no chain");
}

/// A save holds rules in the words of the rendering, so the rendering itself serves as one.
#[test]
fn what_is_rendered_for_iptables_reads_as_the_desired_table_among_rules_of_others() {
    let others = "-A OUTPUT -d 10.0.0.0/8 -j DOCKER\n-A DOCKER -p tcp -j RETURN\n-A OUTPUT -m comment --comment \"-j BOSHY\" -j X\n";
    let text = render::iptables(&ruleset(), &[]).replace("COMMIT", others);
    let saved = iptables_save(&text);
    assert_eq!(difference(&ruleset().table(&Layout::IPTABLES), saved.observed.as_ref()), []);
    assert_eq!(saved.jumps, ["OUTPUT -d 169.254.240.0/20 -p tcp -j BOSHY_OUTPUT"]);
}

#[test]
fn a_second_jump_is_extra_and_found_for_deletion() {
    let text = format!("{}-A OUTPUT -p udp -j BOSHY_OUTPUT\n", render::iptables(&ruleset(), &[]));
    let saved = iptables_save(&text);
    assert_eq!(saved.jumps.len(), 2);
    let wrong = difference(&ruleset().table(&Layout::IPTABLES), saved.observed.as_ref());
    assert!(matches!(&wrong[..], [Deviation::RuleExtra { chain, .. }] if chain == "OUTPUT"), "{wrong:?}");
}

#[test]
fn a_save_without_us_is_nothing_of_ours() {
    assert_eq!(iptables_save("*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j X\nCOMMIT\n"), Saved::default());
    assert_eq!(iptables_save(""), Saved::default());
}
