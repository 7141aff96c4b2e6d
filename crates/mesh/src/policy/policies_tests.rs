use MtlsMode::{Disable, Permissive, Strict};

use super::{
    super::{
        Action, PortMode,
        samples::{config, from, mode, origin, policy},
    },
    *,
};
use crate::Position;

fn of_port(document: PeerAuthentication, port: u16, mode: Option<MtlsMode>) -> PeerAuthentication {
    let mode = PortMode { mode, position: Position::default() };
    PeerAuthentication { ports: [(port, mode)].into(), ..document }
}

fn decided(modes: Vec<PeerAuthentication>) -> Option<MtlsMode> {
    let reversed = modes.iter().cloned().rev().collect();
    let decided = |modes| Policies::of(&[config(modes, vec![])]).mode(&origin("shop/db/mysql"), 3306);
    let mode = decided(modes);
    assert_eq!(decided(reversed), mode, "the order does not matter");
    mode
}

#[test]
fn the_narrowest_document_decides_and_one_without_a_mode_leaves_it_to_the_next() {
    let (mesh, deployment) = (mode("", 1, Some(Strict)), mode("shop", 2, Some(Permissive)));
    let group = mode("shop/db", 3, Some(Disable));
    assert_eq!(decided(vec![]), None);
    assert_eq!(decided(vec![mesh.clone()]), Some(Strict));
    assert_eq!(decided(vec![mesh.clone(), deployment.clone()]), Some(Permissive));
    assert_eq!(decided(vec![mesh.clone(), deployment.clone(), group]), Some(Disable));
    assert_eq!(decided(vec![mesh.clone(), deployment, mode("shop/db", 3, None)]), Some(Permissive));
    assert_eq!(decided(vec![mesh, mode("bank", 2, Some(Disable)), mode("shop/web", 3, Some(Disable))]), Some(Strict));
}

#[test]
fn a_mode_of_the_port_comes_before_that_of_the_group() {
    let group = mode("shop/db", 1, Some(Strict));
    assert_eq!(decided(vec![of_port(group.clone(), 3306, Some(Disable))]), Some(Disable));
    assert_eq!(decided(vec![of_port(group.clone(), 80, Some(Disable))]), Some(Strict));
    assert_eq!(decided(vec![of_port(group, 3306, None)]), Some(Strict));
}

#[test]
fn of_two_equally_narrow_documents_the_stricter_counts() {
    assert_eq!(decided(vec![mode("shop/db", 1, Some(Permissive)), mode("shop/db", 2, Some(Strict))]), Some(Strict));
}

#[test]
fn a_policy_applies_where_its_scope_is() {
    let at = |scope: &str| {
        let policies = Policies::of(&[config(vec![], vec![policy(scope, 1, Action::Allow, vec![from(2, &["*"])])])]);
        policies.authorization(&origin("shop/db/mysql"), 3306).is_some()
    };
    assert!(at("") && at("shop") && at("shop/db") && at("shop/db/mysql"));
    assert!(!at("bank") && !at("shop/web") && !at("shop/db/redis"));
    assert_eq!(Policies::of(&[]).authorization(&origin("shop/db/mysql"), 3306), None);
}
