//! From raw documents to their meaning.

use std::collections::{BTreeMap, BTreeSet};

use boshy_mesh::{
    Action, AuthorizationPolicy, DocumentKind, DocumentName, Documents, MtlsMode, Operation, PeerAuthentication,
    PortMode, Position, Problem, Rule, Scope, Source, WrittenConfig, network,
};
use boshy_yaml::{Positioned, Shape, View, YamlError};
use serde::Deserialize;

use crate::{
    raw::{
        Field, RawAuthorizationPolicy, RawDocument, RawFrom, RawLabels, RawMetadata, RawMtls, RawPeerAuthentication,
        RawRule, RawSelector, RawTo, Refused, Texts,
    },
    text::{self, EMPTY, EVERYWHERE, NEEDS_HTTP, NO_ACCOUNTS},
};

const API_VERSIONS: [(&str, ()); 2] = [("security.istio.io/v1", ()), ("security.istio.io/v1beta1", ())];
const ACTIONS: [(&str, Action); 2] = [("ALLOW", Action::Allow), ("DENY", Action::Deny)];
const MODES: [(&str, Option<MtlsMode>); 4] = [
    ("DISABLE", Some(MtlsMode::Disable)),
    ("PERMISSIVE", Some(MtlsMode::Permissive)),
    ("STRICT", Some(MtlsMode::Strict)),
    ("UNSET", None),
];
const BOOLEANS: [(&str, bool); 2] = [("true", true), ("false", false)];
const KINDS: [(&str, DocumentKind); 2] = [
    ("PeerAuthentication", DocumentKind::PeerAuthentication),
    ("AuthorizationPolicy", DocumentKind::AuthorizationPolicy),
];

/// The check of one config: what is right, and what is wrong.
pub(crate) struct Check<'c> {
    config: &'c WrittenConfig,
    documents: Documents,
    pub(crate) problems: Vec<Problem>,
    names: BTreeSet<(DocumentKind, Option<String>, String)>,
}

/// What all kinds have.
struct Head {
    name: DocumentName,
    deployment: Option<String>,
    dry_run: bool,
}

impl<'c> Check<'c> {
    pub(crate) fn new(config: &'c WrittenConfig) -> Self {
        Self { config, documents: Documents::default(), problems: Vec::new(), names: BTreeSet::new() }
    }

    /// The documents, or everything that is wrong, in the order of the text.
    pub(crate) fn finish(mut self) -> Result<Documents, Vec<Problem>> {
        self.problems.sort_by_key(|problem| problem.place.position);
        if self.problems.is_empty() { Ok(self.documents) } else { Err(self.problems) }
    }

    /// Takes a document.
    ///
    /// # Errors
    /// When it does not have the shape of its kind.
    pub(crate) fn document(&mut self, view: View<'_>) -> Result<(), YamlError> {
        let Shape::Map(map) = view.shape() else { return Err(view.refused("must be a map")) };
        let kind = map.get("kind").ok_or_else(|| view.refused("`kind` is missing"))?.value;
        let written = kind.text().ok_or_else(|| kind.refused("`kind` must be text"))?;
        let known = text::word(&written, &KINDS).map_err(|reason| kind.refused(format!("`kind` {reason}")))?;
        let (line, column) = view.position();
        let at = Position { line, column };
        match known {
            DocumentKind::PeerAuthentication => self.peer_authentication(at, RawDocument::deserialize(view)?),
            // No word stands for a link.
            DocumentKind::AuthorizationPolicy | DocumentKind::Link => {
                self.authorization_policy(at, RawDocument::deserialize(view)?);
            }
        }
        Ok(())
    }

    fn refuse(&mut self, at: Position, reason: impl Into<String>) {
        self.problems.push(Problem::new(self.config.place().at(at), reason));
    }

    fn head<S>(&mut self, at: Position, kind: DocumentKind, document: &RawDocument<S>) -> Option<Head> {
        match &document.api_version {
            Some(version) => drop(self.word("apiVersion", version, &API_VERSIONS)),
            None => self.refuse(at, "`apiVersion` is missing; it is security.istio.io/v1"),
        }
        let Some(Positioned { value: RawMetadata { name, namespace, annotations }, .. }) = &document.metadata else {
            self.refuse(at, "`metadata` is missing");
            return None;
        };
        let dry_run = annotations.as_ref().and_then(|annotations| annotations.dry_run.as_ref());
        if let Some(written) = dry_run.filter(|_| kind != DocumentKind::AuthorizationPolicy) {
            self.refuse(position(written), format!("`istio.io/dry-run` has no meaning for a {kind}"));
        }
        let dry_run = dry_run.and_then(|written| self.word("istio.io/dry-run", written, &BOOLEANS)).unwrap_or_default();
        let name = self.given(at, "metadata.name", name.as_ref(), "");
        let hint = "; it is the deployment to which the document applies, or \"*\" for the whole mesh";
        let namespace = self.given(at, "metadata.namespace", namespace.as_ref(), hint);
        let (name, namespace) = (name?, namespace?);
        let deployment = (namespace != EVERYWHERE).then_some(namespace);
        if !self.names.insert((kind, deployment.clone(), name.clone())) {
            self.refuse(at, format!("there is another {kind} {name:?} for the same namespace in this config"));
        }
        let name = DocumentName { config: self.config.name.clone(), position: at, kind, name };
        Some(Head { name, deployment, dry_run })
    }

    /// A text that must be there.
    fn given(&mut self, at: Position, field: &str, written: Option<&Positioned<String>>, hint: &str) -> Option<String> {
        match written {
            None => self.refuse(at, format!("`{field}` is missing{hint}")),
            Some(written) if written.value.is_empty() => {
                self.refuse(position(written), format!("`{field}` is empty{hint}"));
            }
            Some(written) => return Some(written.value.clone()),
        }
        None
    }

    fn word<T: Copy>(&mut self, field: &str, written: &Positioned<String>, words: &[(&str, T)]) -> Option<T> {
        let meaning = text::word(&written.value, words);
        meaning.map_err(|reason| self.refuse(position(written), format!("`{field}` {reason}"))).ok()
    }

    fn peer_authentication(&mut self, at: Position, document: RawDocument<RawPeerAuthentication>) {
        let head = self.head(at, DocumentKind::PeerAuthentication, &document);
        let Some(Positioned { value: spec, .. }) = document.spec else {
            return self.refuse(at, "`spec` is missing");
        };
        if spec.mtls.0.is_none() && spec.port_level_mtls.0.is_none() {
            return self.refuse(at, "says nothing: give `spec.mtls` or `spec.portLevelMtls`");
        }
        let (group, job) = self.selector(spec.selector);
        let ports = self.port_level(spec.port_level_mtls, group.is_some() || job.is_some());
        let mode = self.value("mtls", spec.mtls).and_then(|mtls| self.mode(&mtls));
        let Some(head) = head else { return };
        let scope = Scope { deployment: head.deployment, group, job };
        self.documents.modes.push(PeerAuthentication { name: head.name, scope, mode, ports });
    }

    fn port_level(
        &mut self,
        field: Field<BTreeMap<String, Positioned<RawMtls>>>,
        has_selector: bool,
    ) -> BTreeMap<u16, PortMode> {
        let mut ports = BTreeMap::new();
        let Some(written) = self.value("portLevelMtls", field) else { return ports };
        if !has_selector {
            self.refuse(position(&written), "`portLevelMtls` needs a `selector`, as in Istio");
        }
        for (number, mtls) in written.value {
            let mode = self.mode(&mtls);
            match text::port(&number) {
                Ok(number) => drop(ports.insert(number, PortMode { mode, position: position(&mtls) })),
                Err(reason) => self.refuse(position(&mtls), format!("`portLevelMtls` {reason}")),
            }
        }
        ports
    }

    fn mode(&mut self, mtls: &Positioned<RawMtls>) -> Option<MtlsMode> {
        let Some(mode) = &mtls.value.mode else {
            self.refuse(position(mtls), "`mode` is missing");
            return None;
        };
        self.word("mode", mode, &MODES).flatten()
    }

    /// Group and job of a selector.
    fn selector(&mut self, selector: Field<RawSelector>) -> (Option<String>, Option<String>) {
        let Some(Positioned { line, column, value }) = selector.0 else { return (None, None) };
        let at = Position { line, column };
        let labels = value.and_then(|selector| selector.match_labels.0?.value);
        let Some(RawLabels { group, job }) = labels.filter(|labels| labels.group.is_some() || labels.job.is_some())
        else {
            self.refuse(at, "`selector` needs `matchLabels` with `group`, `job` or both; leave it out to select all");
            return (None, None);
        };
        let mut label = |field: &str, written: Option<Positioned<String>>| {
            written.and_then(|written| self.given(at, field, Some(&written), ""))
        };
        (label("group", group), label("job", job))
    }

    fn authorization_policy(&mut self, at: Position, document: RawDocument<RawAuthorizationPolicy>) {
        let head = self.head(at, DocumentKind::AuthorizationPolicy, &document);
        // An empty `spec` is Istio's way to write that nobody is allowed; here it has to be written out.
        let Some(Positioned { value: spec, .. }) = document.spec else {
            return self.refuse(at, "`spec` is missing");
        };
        let (group, job) = self.selector(spec.selector);
        let action = spec.action.as_ref().map_or(Some(Action::Allow), |written| self.word("action", written, &ACTIONS));
        let rules = spec.rules.into_iter().flatten().map(|rule| self.rule(rule)).collect();
        let (Some(head), Some(action)) = (head, action) else { return };
        let scope = Scope { deployment: head.deployment, group, job };
        let policy = AuthorizationPolicy { name: head.name, scope, action, dry_run: head.dry_run, rules };
        self.documents.authorizations.push(policy);
    }

    fn rule(&mut self, rule: Positioned<RawRule>) -> Rule {
        let at = position(&rule);
        let RawRule { from, to, when } = rule.value;
        self.refuse_each([("when", when)], NEEDS_HTTP);
        let from = self.items("from", from).into_iter().filter_map(|from| self.source(from)).collect();
        let to = self.items("to", to).into_iter().filter_map(|to| self.operation(to)).collect();
        Rule { position: at, from, to }
    }

    fn source(&mut self, from: Positioned<RawFrom>) -> Option<Source> {
        let at = position(&from);
        let Some(Positioned { value: source, .. }) = from.value.source else {
            self.refuse(at, "`source` is missing");
            return None;
        };
        let told = self.problems.len();
        self.refuse_each(
            [
                ("requestPrincipals", source.request_principals),
                ("notRequestPrincipals", source.not_request_principals),
                ("remoteIpBlocks", source.remote_ip_blocks),
                ("notRemoteIpBlocks", source.not_remote_ip_blocks),
            ],
            NEEDS_HTTP,
        );
        let of_accounts =
            [("serviceAccounts", source.service_accounts), ("notServiceAccounts", source.not_service_accounts)];
        self.refuse_each(of_accounts, NO_ACCOUNTS);
        let in_words = |written: &str| network(written).map_err(|error| error.to_string());
        let source = Source {
            principals: self.texts("principals", source.principals, text::principal),
            not_principals: self.texts("notPrincipals", source.not_principals, text::principal),
            namespaces: self.texts("namespaces", source.namespaces, text::namespace),
            not_namespaces: self.texts("notNamespaces", source.not_namespaces, text::namespace),
            ip_blocks: self.texts("ipBlocks", source.ip_blocks, in_words),
            not_ip_blocks: self.texts("notIpBlocks", source.not_ip_blocks, in_words),
        };
        if source == Source::default() && self.problems.len() == told {
            self.refuse(at, format!("`source` {EMPTY}"));
        }
        Some(source)
    }

    fn operation(&mut self, to: Positioned<RawTo>) -> Option<Operation> {
        let at = position(&to);
        let Some(Positioned { value: operation, .. }) = to.value.operation else {
            self.refuse(at, "`operation` is missing");
            return None;
        };
        let told = self.problems.len();
        self.refuse_each(
            [
                ("hosts", operation.hosts),
                ("notHosts", operation.not_hosts),
                ("methods", operation.methods),
                ("notMethods", operation.not_methods),
                ("paths", operation.paths),
                ("notPaths", operation.not_paths),
            ],
            NEEDS_HTTP,
        );
        let operation = Operation {
            ports: self.texts("ports", operation.ports, text::port).into_iter().collect(),
            not_ports: self.texts("notPorts", operation.not_ports, text::port).into_iter().collect(),
        };
        if operation == Operation::default() && self.problems.len() == told {
            self.refuse(at, format!("`operation` {EMPTY}"));
        }
        Some(operation)
    }

    /// The texts of a list, each parsed.
    fn texts<T>(&mut self, field: &str, written: Texts, parse: fn(&str) -> Result<T, String>) -> Vec<T> {
        let mut parsed = Vec::new();
        for text in self.items(field, written) {
            match parse(&text.value) {
                Ok(value) => parsed.push(value),
                Err(reason) => self.refuse(position(&text), format!("`{field}` {reason}")),
            }
        }
        parsed
    }

    /// The items of a list, which must have some if it is written.
    fn items<T>(&mut self, field: &str, written: Field<Vec<T>>) -> Vec<T> {
        let Some(list) = self.value(field, written) else { return Vec::new() };
        if list.value.is_empty() {
            self.refuse(position(&list), format!("`{field}` {EMPTY}"));
        }
        list.value
    }

    /// The value of a field, which must have one if it is written.
    fn value<T>(&mut self, field: &str, written: Field<T>) -> Option<Positioned<T>> {
        let Positioned { line, column, value } = written.0?;
        if value.is_none() {
            self.refuse(Position { line, column }, format!("`{field}` {EMPTY}"));
        }
        value.map(|value| Positioned { line, column, value })
    }

    fn refuse_each<const N: usize>(&mut self, fields: [(&str, Refused); N], reason: &str) {
        for (field, written) in fields {
            if let Some(written) = written.0 {
                self.refuse(position(&written), format!("`{field}` {reason}"));
            }
        }
    }
}

fn position<T>(written: &Positioned<T>) -> Position {
    Position { line: written.line, column: written.column }
}
