use super::*;
use crate::{
    difference::{Deviation, difference},
    render,
    ruleset::Ruleset,
};

const LISTING: &str = "\
table inet boshy { # progname boshy
\tflags owner

\tset strangers {
\t\ttype inet_service
\t\telements = { 1, 2 }
\t}

\tchain output {
\t\ttype nat hook output priority -105; policy accept;
\t\tip daddr 169.254.240.0/20 meta l4proto 6 jump capture
\t}

\tchain capture {
\t\ttcp dport 22 return
\t\ttcp dport { 1, 2 } return
\t\tmeta l4proto 6 counter packets 0 bytes 0 redirect to :15001
\t}
}
";

fn ruleset() -> Ruleset {
    Ruleset::new("169.254.240.0/20".parse().unwrap(), 15001, []).unwrap()
}

#[test]
fn an_nft_listing_is_compared_rule_by_rule() {
    let wrong = difference(&ruleset().table(&Layout::NFTABLES), Some(&nft_list(LISTING)));
    let texts: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "chain capture lacks `tcp dport 2822 return`",
            "chain capture lacks `tcp dport 4222 return`",
            "chain capture lacks `tcp dport 6868 return`",
            "chain capture lacks `meta l4proto tcp redirect to :15001`",
            "chain capture has `tcp dport { 1, 2 } return`, which is not ours",
            "chain capture has `meta l4proto 6 counter packets 0 bytes 0 redirect to :15001`, which is not ours",
        ]
    );
}

/// A listing has the shape of the rendering.
#[test]
fn what_is_rendered_for_nft_reads_as_the_desired_table() {
    let table = ruleset().table(&Layout::NFTABLES);
    assert_eq!(difference(&table, Some(&nft_list(&render::nft(&table)))), []);
}

#[test]
fn a_dormant_table_is_seen_among_other_flags() {
    assert!(!nft_list(LISTING).dormant);
    assert!(nft_list(&LISTING.replace("flags owner", "flags owner,dormant")).dormant);
    assert!(nft_list(&LISTING.replace("flags owner", "flags dormant")).dormant);
}

/// A save holds rules in the words of the rendering, so the rendering itself serves as one.
#[test]
fn what_is_rendered_for_iptables_reads_as_the_desired_table_among_rules_of_others() {
    let others = "-A OUTPUT -d 10.0.0.0/8 -j DOCKER\n-A DOCKER -p tcp -j RETURN\n-A OUTPUT -m comment --comment \"-j BOSHY\" -j X\n";
    let text = render::iptables(&ruleset().table(&Layout::IPTABLES), &[]).replace("COMMIT", others);
    let saved = iptables_save(&text);
    assert_eq!(difference(&ruleset().table(&Layout::IPTABLES), saved.observed.as_ref()), []);
    assert_eq!(saved.jumps, ["OUTPUT -d 169.254.240.0/20 -p tcp -j BOSHY_OUTPUT"]);
}

#[test]
fn a_second_jump_is_extra_and_found_for_deletion() {
    let text =
        format!("{}-A OUTPUT -p udp -j BOSHY_OUTPUT\n", render::iptables(&ruleset().table(&Layout::IPTABLES), &[]));
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
