//! Istio's API of certificate authorities, with Istio's own types in Go as the other side (`tests/tools/istio-peer`).

use std::{
    env,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, ChildStdin, Command, Stdio},
};

use boshy_identity::{Chain, PrivateKey, csr_for};
use boshy_tests::{AgentPlan, Authority, Operated, Papers, with_own_network};
use serde_json::Value;

use crate::site::{NAME, ONE, Site, TWO, Vm, key, now, request_from};

const OWN: &str = "spiffe://boshy/ns/shop/sa/web";

#[test]
fn istios_client_gets_the_vms_names_and_makes_mutual_tls_with_its_certificate() {
    with_own_network(|| {
        let site = Site::new();
        for (vm, kind) in [(ONE, "rsa"), (TWO, "ec")] {
            let found = asked_by_istio(&site, vm, kind).unwrap();
            assert_eq!(found["uris"], serde_json::json!([OWN]), "the URI that it asked for is ignored");
            assert_eq!(found["dns_names"], serde_json::json!([format!("{}.boshy", vm.instance)]));
            assert_eq!((&found["texts"], &found["roots"], &found["tls"]), (&2.into(), &1.into(), &"TLS 1.3".into()));
            assert_eq!(found["life"], 3600 + 600, "the setting's, although it asked for a day");
        }
    });
}

#[test]
fn istios_client_is_told_why_it_gets_nothing() {
    with_own_network(|| {
        let site = Site::new();
        site.certifies(ONE);
        let refused = asked_by_istio(&site, ONE, "ec").unwrap_err();
        assert!(refused.contains("PermissionDenied") && refused.contains("another key"), "{refused}");
    });
}

#[test]
fn what_an_authority_of_istio_answers_is_accepted_when_it_is_a_chain_and_refused_when_it_is_not() {
    let deployment = Authority::new();
    let agent = deployment.agent();
    let istiod = Istiod::start(&deployment, &["-uri", OWN, "-dns", "one.boshy"]);
    let wanted = key();
    let answer = istiod.asked_by(&agent, &wanted).unwrap();
    assert_eq!(answer.len(), 3);
    let chain = Chain::received(answer).unwrap();
    let leaf = chain.check(wanted.hash(), now()).unwrap();
    assert_eq!((leaf.spiffe_id.to_string(), leaf.dns_name), (OWN.to_owned(), Some("one.boshy".to_owned())));

    let hasty = Istiod::start(&deployment, &["-uri", OWN, "-short"]);
    let error = Chain::received(hasty.asked_by(&agent, &wanted).unwrap()).unwrap_err();
    assert!(error.to_string().contains("has 1 of the two texts"), "{error}");
}

#[test]
fn an_agent_whose_pilot_is_an_authority_of_istio_gets_its_certificate_and_says_that_it_is_no_pilot() {
    let deployment = Authority::new();
    let istiod = Istiod::start(&deployment, &["-uri", OWN, "-dns", "one.boshy"]);
    let agent = AgentPlan::of_pilot_at(&istiod.url(), &deployment.agent()).starts();
    agent.shows("it has a certificate", |status| status["identity"]["certificate"]["spiffe_id"] == OWN);
    agent.shows("the other end is no pilot", |status| {
        status["pilot"]["error"].as_str().is_some_and(|told| told.contains("unknown service"))
    });
    assert_eq!(agent.get("/healthz").status, 200);
}

/// What Istio's client finds in its certificate, or why it has none.
fn asked_by_istio(site: &Site, vm: Vm, kind: &str) -> Result<Value, String> {
    let (address, from) = (site.pilot.xds_address().to_string(), vm.address.to_string());
    let mut command = peer("client", &site.shared);
    command.args(["-address", &address, "-name", NAME, "-from", &from, "-key", kind]);
    let output = command.output().unwrap();
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn peer(role: &str, papers: &Papers) -> Command {
    let program =
        env::var_os("BOSHY_ISTIO_PEER").expect("BOSHY_ISTIO_PEER names the program of tests/tools/istio-peer");
    let files = papers.client();
    let mut command = Command::new(program);
    command.arg(role).arg("-ca").arg(files.ca).arg("-certificate").arg(files.certificate);
    command.arg("-private-key").arg(files.private_key);
    command
}

/// An authority that answers as istiod does.
struct Istiod {
    process: Child,
    until_closed: Option<ChildStdin>,
    address: SocketAddr,
    _papers: Papers,
}

impl Istiod {
    fn start(deployment: &Authority, arguments: &[&str]) -> Self {
        let papers = deployment.pilot(NAME);
        let mut command = peer("server", &papers);
        let mut process = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let until_closed = process.stdin.take();
        Self { process, until_closed, address: line.trim().parse().unwrap(), _papers: papers }
    }

    fn url(&self) -> String {
        format!("https://{NAME}:{}", self.address.port())
    }

    fn asked_by(&self, papers: &Papers, key: &PrivateKey) -> Result<Vec<String>, String> {
        request_from(&self.url(), papers, &csr_for(key).unwrap(), None)
    }
}

impl Drop for Istiod {
    fn drop(&mut self) {
        self.until_closed = None;
        let _ = self.process.wait();
    }
}
