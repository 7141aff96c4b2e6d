//! A pilot that issues certificates to the VMs of one deployment.

use std::net::Ipv4Addr;

use boshy_identity::{Csr, Leaf, PrivateKey, Voucher, csr_for};
use boshy_mesh::Timestamp;
use boshy_tests::{Authority, Detour, Director, Manifest, Operated, Papers, Pilot, PilotPlan};
use boshy_tls::ClientTls;
use boshy_xds::agent::{CertificateWish, ExchangeSettings, request_certificate};
use err_report::Report;
use secrecy::ExposeSecret;
use serde_json::json;

/// It resolves on every machine.
pub(crate) const NAME: &str = "localhost";
/// The service of the deployment.
pub(crate) const SHOP: &str = "app.web.shop.boshy";
/// An address of no VM.
pub(crate) const NOWHERE: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 99);

/// A VM of the deployment `shop`, as the director lists it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vm {
    pub(crate) address: Ipv4Addr,
    pub(crate) instance: &'static str,
    pub(crate) agent_id: &'static str,
}

pub(crate) const ONE: Vm = Vm {
    address: Ipv4Addr::new(10, 244, 0, 2),
    instance: "6e0a1c9e-0a4b-4c60-8f39-2f4f7c9b7d11",
    agent_id: "11111111-0a4b-4c60-8f39-2f4f7c9b7d11",
};
pub(crate) const TWO: Vm = Vm {
    address: Ipv4Addr::new(10, 244, 0, 3),
    instance: "0b1f0c58-3a0e-4a3b-9a57-0a5f7d2c9d10",
    agent_id: "22222222-3a0e-4a3b-9a57-0a5f7d2c9d10",
};

/// A director with two VMs, a pilot with an authority, and the certificate that all agents have.
pub(crate) struct Site {
    pub(crate) director: Director,
    /// Issues the certificates that agents and pilots show each other.
    pub(crate) deployment: Authority,
    /// Issues the certificates of workloads.
    pub(crate) mesh: Authority,
    pub(crate) pilot: Pilot,
    /// The certificate that all agents have.
    pub(crate) shared: Papers,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::issuing_by(Authority::new())
    }

    /// Where the BOSH agents of VMs, by this CA of the director's, vouch for requests.
    pub(crate) fn asking_bosh_agents(ca: &Authority) -> Self {
        Self::with(Authority::new(), |pilot| pilot.asking_bosh_agents(ca))
    }

    pub(crate) fn issuing_by(mesh: Authority) -> Self {
        Self::with(mesh, |pilot| pilot)
    }

    fn with(mesh: Authority, plan: impl FnOnce(PilotPlan) -> PilotPlan) -> Self {
        let (director, deployment) = (Director::with([Manifest::of("shop")]), Authority::new());
        director.shows_instances("shop", &rows(&[ONE, TWO]));
        let pilot = plan(director.pilot().over_tls(&deployment.pilot(NAME)).certifying(&mesh)).starts();
        pilot.serves(SHOP, 2);
        let shared = deployment.agent();
        Self { director, deployment, mesh, pilot, shared }
    }

    /// Lists these VMs from now on, and waits until the pilot knows.
    pub(crate) fn lists(&self, vms: &[Vm]) {
        let before = self.pilot.generation();
        self.director.shows_instances("shop", &rows(vms));
        self.pilot.shows("the pilot has the new list", |status| status["snapshot"]["generation"] != before);
    }

    /// Asks from an address for a certificate of a key.
    pub(crate) fn asks(&self, from: Ipv4Addr, papers: &Papers, key: &PrivateKey) -> Result<Vec<String>, String> {
        self.sends(from, papers, &csr_for(key).unwrap())
    }

    /// Asks from an address for a certificate of a key, for which a BOSH agent vouches.
    pub(crate) fn asks_vouched(
        &self,
        from: Ipv4Addr,
        key: &PrivateKey,
        voucher: &Voucher,
    ) -> Result<Vec<String>, String> {
        let csr = csr_for(key).unwrap();
        let proof = voucher.proof(&Csr::from_pem(&csr).unwrap(), now()).unwrap();
        let entrance = Detour::new(from, self.pilot.xds_address()).entrance();
        request_from(&format!("https://{NAME}:{}", entrance.port()), &self.shared, &csr, Some(&proof))
    }

    /// Sends a request from an address. A refusal is returned with all its causes and the remedy.
    pub(crate) fn sends(&self, from: Ipv4Addr, papers: &Papers, csr: &str) -> Result<Vec<String>, String> {
        let entrance = Detour::new(from, self.pilot.xds_address()).entrance();
        request_from(&format!("https://{NAME}:{}", entrance.port()), papers, csr, None)
    }

    /// A VM gets its first certificate. Returns what its agent presents from then on.
    pub(crate) fn certifies(&self, vm: Vm) -> Papers {
        let key = key();
        let chain = self.asks(vm.address, &self.shared, &key).unwrap();
        assert_names(&chain, vm);
        self.presenting(&chain, &key)
    }

    /// What the owner of a certificate presents.
    pub(crate) fn presenting(&self, chain: &[String], key: &PrivateKey) -> Papers {
        self.shared.showing(&chain[..chain.len() - 1].concat(), key.to_pem().expose_secret())
    }

    /// How many requests the pilot has refused for a reason.
    pub(crate) fn refused(&self, reason: &str) -> u64 {
        self.pilot.status()["identity"]["refused"][reason].as_u64().unwrap_or(0)
    }

    /// How many handshakes have failed for a reason.
    pub(crate) fn turned_away(&self, reason: &str) -> u64 {
        self.pilot.status()["xds"]["refused"][reason].as_u64().unwrap()
    }

    /// Checks that a request was refused for a reason, and that the owners of pilot and VM are told why.
    pub(crate) fn assert_refused(&self, from: Ipv4Addr, answer: Result<Vec<String>, String>, reason: &str, told: &str) {
        let error = answer.unwrap_err();
        assert!(error.contains(told), "{error}");
        let status = self.pilot.status();
        let latest = status["identity"]["latest_refusals"].as_array().unwrap().last().unwrap();
        assert_eq!(latest["address"], from.to_string());
        assert!(latest["reason"].as_str().unwrap().contains(told), "{latest}");
        assert_ne!(self.refused(reason), 0, "{reason} is not counted");
    }
}

/// Asks an authority as an agent does. A refusal is returned with all its causes and the remedy.
pub(crate) fn request_from(url: &str, papers: &Papers, csr: &str, proof: Option<&str>) -> Result<Vec<String>, String> {
    let tls = ClientTls::open(papers.client(), boshy_xds::ALPN).unwrap();
    let (authority, settings) = (url.parse().unwrap(), ExchangeSettings::default());
    let wish = CertificateWish { csr, life: None, latest: None, proof };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(request_certificate(&authority, &tls, &settings, wish));
    answer.map_err(|error| format!("{}. {}", Report::new(&error), error.remedy()))
}

#[expect(clippy::disallowed_methods, reason = "certificates are valid by the time of day")]
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp(since.as_secs())
}

pub(crate) fn key() -> PrivateKey {
    PrivateKey::generate().unwrap()
}

/// Checks that a certificate names a VM.
pub(crate) fn assert_names(chain: &[String], vm: Vm) {
    let leaf = Leaf::from_pem(&chain[0]).unwrap();
    assert_eq!(leaf.spiffe_id.to_string(), "spiffe://boshy/ns/shop/sa/web");
    assert_eq!(leaf.dns_name, Some(format!("{}.boshy", vm.instance)));
}

fn rows(vms: &[Vm]) -> serde_json::Value {
    let row = |(index, vm): (usize, &Vm)| {
        json!({
            "agent_id": vm.agent_id, "cid": vm.agent_id, "job": "web", "index": index, "id": vm.instance, "az": "z1",
            "ips": [vm.address], "vm_created_at": "2026-11-23T15:13:10Z", "expects_vm": true,
        })
    };
    vms.iter().enumerate().map(row).collect()
}
