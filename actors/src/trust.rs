//! Who trusts which root: from the director's facts, the agents' reports, and the keys that this pilot knows.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use boshy_mesh::{InstanceTrust, MeshAuthority, MeshSnapshot, ReportTable, TrustStanding};
use boshy_web::status::Lack;
use boshy_xds::AgentReports;
use tokio::sync::watch;

use crate::{clock, identity_desk::IdentityDesk};

const TROUBLE: &str = "Wait for a minute: agents get the pilot's roots by themselves. If it stays, see `boshy identity roots`, and put \
                       the authority and the roots of before back (`identity`) until `boshy identity check sign` allows the change.";
const AWAITED: &str = "Wait: agents get all roots by themselves. A VM that is off counts until its certificate ends: start it, or delete it. \
                       To issue at once all the same, deploy without `identity.previous`.";

/// What the standing is made of. Clones share the state.
#[derive(Clone)]
pub(crate) struct Trust {
    authority: Arc<MeshAuthority>,
    snapshot: watch::Receiver<Arc<MeshSnapshot>>,
    reports: AgentReports,
    desk: IdentityDesk,
    /// What was shown last, which knows since when.
    shown: Arc<Mutex<Option<Lack>>>,
}

impl Trust {
    pub(crate) fn new(
        authority: MeshAuthority,
        snapshot: watch::Receiver<Arc<MeshSnapshot>>,
        reports: AgentReports,
        desk: IdentityDesk,
    ) -> Self {
        Self { authority: authority.into(), snapshot, reports, desk, shown: Arc::default() }
    }

    /// The standing now.
    pub(crate) fn standing(&self) -> TrustStanding {
        let issued_by = self.desk.register().issuers(clock::now());
        standing(&self.authority, &self.snapshot.borrow().clone(), &self.reports.table(), &issued_by)
    }

    /// Why connections may fail for want of a root.
    pub(crate) fn lack(&self) -> Option<Lack> {
        let standing = self.standing();
        let trouble = if self.desk.is_awaited() {
            Some((standing.awaited(), AWAITED))
        } else {
            standing.trouble().map(|reason| (reason, TROUBLE))
        };
        let lack = trouble.map(|(reason, remedy)| Lack {
            what: "roots",
            since: clock::now().0,
            reason,
            remedy: remedy.to_owned(),
        });
        // Usable after a panic: it is replaced as a whole.
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        *shown = lack.map(|lack| lack.lasting(&*shown));
        shown.clone()
    }
}

/// Counts the listed instances that report, or have a certificate of this pilot that is valid.
fn standing(
    authority: &MeshAuthority,
    snapshot: &MeshSnapshot,
    reports: &ReportTable,
    issued_by: &BTreeMap<String, Option<String>>,
) -> TrustStanding {
    let reports: HashMap<&str, _> = reports.iter().map(|(id, heard)| (&**id, &*heard.report)).collect();
    let instance = |workload: &boshy_mesh::Workload| {
        let (report, issued) = (reports.get(&*workload.id).copied(), issued_by.get(&workload.id));
        let title = || format!("{}/{}/{}", workload.deployment, workload.group, workload.id);
        let issued_by = issued.and_then(Option::as_deref);
        (report.is_some() || issued.is_some()).then(|| InstanceTrust { title: title(), report, issued_by })
    };
    let instances: Vec<_> = snapshot.content.workloads.iter().filter_map(|plan| instance(&plan.workload)).collect();
    TrustStanding::count(authority, &instances)
}

#[cfg(test)]
mod tests {
    use boshy_mesh::{
        AgentReport, AuthorityCertificate, MeshRules, Moment, NetworkAddress, Shared, SnapshotContent, Workload,
    };

    use super::*;

    fn mesh() -> MeshSnapshot {
        let workload = |last: u8| {
            let addresses =
                vec![NetworkAddress { address: std::net::IpAddr::from([10, 0, 0, last]).into(), network: None }];
            let (deployment, group) = ("shop".into(), "api".into());
            Shared::new(Workload { id: format!("id-{last}"), deployment, group, addresses, ..Workload::default() })
        };
        let (nothing, workloads) = (SnapshotContent::default(), [2, 3, 4].map(workload));
        MeshSnapshot::default()
            .next(SnapshotContent::join(Vec::new(), workloads, &MeshRules::default(), &nothing))
            .unwrap()
    }

    #[test]
    fn listed_instances_count_that_report_or_have_a_certificate() {
        let root = AuthorityCertificate { fingerprint: "root".into(), subject: "CN=root".into(), end: 1 };
        let authority = MeshAuthority { issuer: root.clone(), root: "root".into(), roots: vec![root] };
        let mut reports = ReportTable::default();
        let report =
            AgentReport { roots: ["root".into()].into(), issuer: Some("root".into()), ..AgentReport::default() };
        reports.record("id-2", report.clone(), Moment(0));
        reports.record("gone", report, Moment(0));
        let issued_by = [("id-3".to_owned(), None), ("gone-too".to_owned(), None)].into();
        let standing = standing(&authority, &mesh(), &reports, &issued_by);
        assert_eq!((standing.instances, standing.roots[0].trusted_by), (2, 1));
        assert_eq!(
            (standing.silent, standing.distrustful),
            (vec!["shop/api/id-3".into()], vec!["shop/api/id-3".into()])
        );
    }
}
