//! A table of rules as the texts that `nft` and `iptables-restore` read. The netlink form is in the `netlink` module.
//!
//! Each text is one transaction: the program hands it to the kernel whole, and the kernel takes all of it or nothing.

use std::fmt::Write;

use crate::ruleset::{Layout, Match, Rule, Table, Verdict};

/// The family and name of the own nftables table, as nft writes them.
pub(crate) const TABLE: &str = "inet boshy";

/// Input for `nft -f`: replaces the own table with one in [`Layout::NFTABLES`]. The first line makes the second succeed when the table is absent.
pub fn nft(table: &Table) -> String {
    let mut text = format!("add table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n");
    for chain in &table.chains {
        let _ = writeln!(text, "\tchain {} {{", chain.name);
        if let Some(base) = &chain.base {
            let _ = writeln!(text, "\t\t{base}");
        }
        for rule in &chain.rules {
            let _ = writeln!(text, "\t\t{rule}");
        }
        text.push_str("\t}\n");
    }
    text.push_str("}\n");
    text
}

/// Input for `nft -f`: removes the own table, whether or not it is there.
pub(crate) fn nft_removal() -> String {
    format!("add table {TABLE}\ndelete table {TABLE}\n")
}

/// Input for `iptables-restore --noflush`: replaces the own chain and its jump with those of a table in [`Layout::IPTABLES`].
///
/// Naming the own chain empties it, but rules in `OUTPUT` pile up and deleting one that is absent fails the whole text. So the
/// jumps found before are passed in as `iptables-save` wrote them, and exactly these are deleted.
pub fn iptables(table: &Table, found_jumps: &[String]) -> String {
    let mut text = iptables_start(found_jumps);
    // The own chain first: the jump must not lead into a chain that is still empty.
    for chain in table.chains.iter().rev() {
        for rule in &chain.rules {
            let _ = writeln!(text, "-A {} {}", chain.name, iptables_rule(rule));
        }
    }
    text.push_str("COMMIT\n");
    text
}

/// Input for `iptables-restore --noflush`: removes the own chain and the jumps found before.
pub(crate) fn iptables_removal(found_jumps: &[String]) -> String {
    let mut text = iptables_start(found_jumps);
    let _ = writeln!(text, "-X {}\nCOMMIT", Layout::IPTABLES.own_chain);
    text
}

fn iptables_start(found_jumps: &[String]) -> String {
    let mut text = format!("*nat\n:{} - [0:0]\n", Layout::IPTABLES.own_chain);
    for jump in found_jumps {
        let _ = writeln!(text, "-D {jump}");
    }
    text
}

/// A rule in the order of words that `iptables-save` prints.
fn iptables_rule(rule: &Rule) -> String {
    let mut words = Vec::new();
    for each in &rule.matches {
        words.push(match each {
            Match::Destination(net) => format!("-d {net}"),
            Match::Tcp => "-p tcp".to_owned(),
            Match::TcpPort(port) => format!("-p tcp -m tcp --dport {port}"),
        });
    }
    words.push(match &rule.verdict {
        Verdict::Jump(chain) => format!("-j {chain}"),
        Verdict::Return => "-j RETURN".to_owned(),
        Verdict::Redirect(port) => format!("-j REDIRECT --to-ports {port}"),
    });
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::Ruleset;

    fn table(layout: &Layout) -> Table {
        Ruleset::new("169.254.255.0/24".parse().unwrap(), 15001, [9999]).unwrap().table(layout)
    }

    #[test]
    fn nft_replaces_the_own_table_and_names_no_other() {
        let text = "\
add table inet boshy
delete table inet boshy
table inet boshy {
\tchain output {
\t\ttype nat hook output priority -105; policy accept;
\t\tip daddr 169.254.255.0/24 meta l4proto tcp jump capture
\t}
\tchain capture {
\t\ttcp dport 22 return
\t\ttcp dport 2822 return
\t\ttcp dport 4222 return
\t\ttcp dport 6868 return
\t\ttcp dport 9999 return
\t\tmeta l4proto tcp redirect to :15001
\t}
}
";
        assert_eq!(nft(&table(&Layout::NFTABLES)), text);
    }

    #[test]
    fn iptables_deletes_the_jumps_that_were_found_and_adds_one() {
        let found = [
            "OUTPUT -d 10.1.0.0/16 -p tcp -j BOSHY_OUTPUT".to_owned(),
            "OUTPUT -d 169.254.255.0/24 -p tcp -j BOSHY_OUTPUT".to_owned(),
        ];
        let text = "\
*nat
:BOSHY_OUTPUT - [0:0]
-D OUTPUT -d 10.1.0.0/16 -p tcp -j BOSHY_OUTPUT
-D OUTPUT -d 169.254.255.0/24 -p tcp -j BOSHY_OUTPUT
-A BOSHY_OUTPUT -p tcp -m tcp --dport 22 -j RETURN
-A BOSHY_OUTPUT -p tcp -m tcp --dport 2822 -j RETURN
-A BOSHY_OUTPUT -p tcp -m tcp --dport 4222 -j RETURN
-A BOSHY_OUTPUT -p tcp -m tcp --dport 6868 -j RETURN
-A BOSHY_OUTPUT -p tcp -m tcp --dport 9999 -j RETURN
-A BOSHY_OUTPUT -p tcp -j REDIRECT --to-ports 15001
-A OUTPUT -d 169.254.255.0/24 -p tcp -j BOSHY_OUTPUT
COMMIT
";
        assert_eq!(iptables(&table(&Layout::IPTABLES), &found), text);
    }

    #[test]
    fn iptables_removal_deletes_only_what_was_found() {
        let found = ["OUTPUT -d 10.1.0.0/16 -p tcp -j BOSHY_OUTPUT".to_owned()];
        let text = "\
*nat
:BOSHY_OUTPUT - [0:0]
-D OUTPUT -d 10.1.0.0/16 -p tcp -j BOSHY_OUTPUT
-X BOSHY_OUTPUT
COMMIT
";
        assert_eq!(iptables_removal(&found), text);
    }
}
