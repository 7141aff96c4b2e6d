//! The messages of `boshy.agent.v1.AgentService`, by which agents report to pilots.

use boshy_mesh::AgentReport;

/// Name of the service.
pub(crate) const SERVICE: &str = "boshy.agent.v1.AgentService";
/// Path of its only method.
pub(crate) const REPORT: &str = "/boshy.agent.v1.AgentService/Report";
/// Roots that a report may name.
const MAX_ROOTS: usize = 64;

/// What an agent says of its VM. Whose VM that is, the connection says.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ReportRequest {
    /// See [`AgentReport::able`].
    #[prost(bool, tag = "1")]
    able: bool,
    /// See [`AgentReport::roots`].
    #[prost(string, repeated, tag = "2")]
    roots: Vec<String>,
    /// See [`AgentReport::issuer`]; empty for none.
    #[prost(string, tag = "3")]
    issuer: String,
    /// See [`AgentReport::stopping`].
    #[prost(bool, tag = "4")]
    stopping: bool,
    /// Id of the instance. It proves nothing, and is compared with what the connection says.
    #[prost(string, tag = "5")]
    instance: String,
}

/// The report was recorded.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct ReportResponse {
    /// Whether the VM should ask for another certificate now: its own is of an authority that does not issue any more.
    #[prost(bool, tag = "1")]
    pub(crate) renew: bool,
    /// Whether the instance is an endpoint of a service.
    #[prost(bool, tag = "2")]
    pub(crate) is_called: bool,
}

/// Why a report is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadReport {
    /// A text is no fingerprint.
    #[error("a fingerprint has another form than 64 lower-case hexadecimal digits")]
    Fingerprint,
    /// There are too many roots.
    #[error("it names more than {MAX_ROOTS} roots")]
    TooManyRoots,
}

impl ReportRequest {
    /// The report of an instance.
    pub(crate) fn of(instance: &str, report: &AgentReport) -> Self {
        Self {
            instance: instance.to_owned(),
            able: report.able,
            roots: report.roots.iter().cloned().collect(),
            issuer: report.issuer.clone().unwrap_or_default(),
            stopping: report.stopping,
        }
    }

    /// The instance that it says it is of.
    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }
}

impl TryFrom<ReportRequest> for AgentReport {
    type Error = BadReport;

    fn try_from(wire: ReportRequest) -> Result<Self, BadReport> {
        let ReportRequest { able, roots, issuer, stopping, instance: _ } = wire;
        if roots.len() > MAX_ROOTS {
            return Err(BadReport::TooManyRoots);
        }
        let issuer = Some(issuer).filter(|issuer| !issuer.is_empty());
        if !roots.iter().chain(&issuer).all(|text| is_fingerprint(text)) {
            return Err(BadReport::Fingerprint);
        }
        Ok(Self { able, roots: roots.into_iter().collect(), issuer, stopping })
    }
}

fn is_fingerprint(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_received() {
        let (one, other) = ("1".repeat(64), "a".repeat(64));
        let report =
            AgentReport { able: true, roots: [one, other.clone()].into(), issuer: Some(other), stopping: true };
        for report in [report, AgentReport::default()] {
            assert_eq!(AgentReport::try_from(ReportRequest::of("one", &report)), Ok(report));
        }
    }

    #[test]
    fn what_is_no_fingerprint_is_refused() {
        let roots = |roots: Vec<String>| AgentReport::try_from(ReportRequest { roots, ..ReportRequest::default() });
        for text in ["", "1", &"A".repeat(64), &"1".repeat(65)] {
            assert_eq!(roots(vec![text.to_owned()]), Err(BadReport::Fingerprint), "{text}");
        }
        let issuer = ReportRequest { issuer: "x".to_owned(), ..ReportRequest::default() };
        assert_eq!(AgentReport::try_from(issuer), Err(BadReport::Fingerprint));
        assert_eq!(roots(vec!["1".repeat(64); MAX_ROOTS + 1]), Err(BadReport::TooManyRoots));
    }
}
