//! Documents for tests.

use super::*;
use crate::{MtlsMode, Origin, Position};

pub(super) fn name(kind: DocumentKind, name: &str, line: u32) -> DocumentName {
    DocumentName { config: "net".into(), position: Position { line, column: 1 }, kind, name: name.into() }
}

/// `deployment/group/job`, shorter for a broader scope; empty for the whole mesh.
pub(super) fn scope(written: &str) -> Scope {
    let mut names = written.split('/').filter(|name| !name.is_empty()).map(str::to_owned);
    Scope { deployment: names.next(), group: names.next(), job: names.next() }
}

pub(super) fn origin(written: &str) -> Origin {
    let Scope { deployment, group, job } = scope(written);
    Origin { deployment: deployment.unwrap(), group: group.unwrap(), job: job.unwrap() }
}

pub(super) fn mode(at: &str, line: u32, mode: Option<MtlsMode>) -> PeerAuthentication {
    let name = name(DocumentKind::PeerAuthentication, at, line);
    PeerAuthentication { name, scope: scope(at), mode, ports: Default::default() }
}

pub(super) fn policy(at: &str, line: u32, action: Action, rules: Vec<Rule>) -> AuthorizationPolicy {
    let name = name(DocumentKind::AuthorizationPolicy, at, line);
    AuthorizationPolicy { name, scope: scope(at), action, dry_run: false, rules }
}

/// A rule for these principals, at any port.
pub(super) fn from(line: u32, principals: &[&str]) -> Rule {
    let principals = principals.iter().map(|written| Pattern::parse(written).unwrap()).collect();
    let from = vec![Source { principals, ..Source::default() }];
    Rule { position: Position { line, column: 3 }, from, to: Vec::new() }
}

pub(super) fn config(modes: Vec<PeerAuthentication>, authorizations: Vec<AuthorizationPolicy>) -> PolicyConfig {
    let applied = AppliedConfig { version: "1".into(), documents: Documents { modes, authorizations } };
    PolicyConfig { name: "net".into(), latest: "1".into(), applied: Some(applied), problems: Vec::new() }
}
