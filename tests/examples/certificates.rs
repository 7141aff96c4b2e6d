//! Measures a pilot's certificate authority. Prints one JSON line:
//!
//! ```text
//! unshare --map-root-user --net --mount sh -c '
//!   ip link set lo up && ip route add local 10.200.0.0/16 dev lo
//!   { echo 127.0.0.1 localhost; seq 0 999 | awk "{ print \"10.200.\" int(\$1 / 250) \".\" \$1 % 250 + 1, \"vm\" \$1 \".agents.test\" }"; } >/tmp/hosts
//!   mount --bind /tmp/hosts /etc/hosts && exec cargo run --release -p boshy-tests --example certificates'
//! ```
//!
//! `signed_per_s` is how many certificates one core signs, requests decoded and checked. `agents` VMs then ask a pilot for
//! their first certificate at the same moment, each over a TLS connection of its own and from its own address: `all_ms`
//! is the time until the last one has its certificate, `median_ms` the time of half of them, `pilot_ms` the pilot's CPU
//! time, and `asked_again` how often an agent had to ask once more. Pilot, agents and director share this process and the
//! machine.

#![expect(clippy::unwrap_used, reason = "a benchmark: what fails ends it")]
#![expect(clippy::print_stdout, reason = "its output")]
#![expect(clippy::disallowed_methods, reason = "a benchmark, which ends by what it waits for")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use boshy_identity::{AuthorityFiles, CertificateAuthority, Csr, PrivateKey, WorkloadNames, csr_for};
use boshy_mesh::Timestamp;
use boshy_tests::{Authority, Director, Manifest};
use boshy_tls::ClientTls;
use boshy_xds::{
    ALPN,
    agent::{CertificateWish, ExchangeError, ExchangeSettings, Uri, request_certificate},
};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::{TimeVal, TimeValLike},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const AGENTS: usize = 1000;
const SIGNED: u32 = 5000;
/// Agents know the pilot by names that resolve to their own addresses: a connection of a VM to one of its own addresses
/// has that address at both ends.
const PILOT: &str = "*.agents.test";
/// As an agent waits after an attempt that failed.
const PAUSE: Duration = Duration::from_secs(2);

fn main() {
    let (deployment, mesh) = (Authority::new(), Authority::new());
    let signed = signed_per_second(&mesh);
    let director = Director::with([Manifest::of("fleet").instances(AGENTS as u32)]);
    director.shows_instances("fleet", &(0..AGENTS).map(row).collect());
    let pilot = director.pilot().over_tls(&deployment.pilot(PILOT)).certifying(&mesh).on_all_addresses().starts();
    pilot.serves("app.web.fleet.boshy", AGENTS);
    let papers = deployment.agent();
    let tls = ClientTls::open(papers.client(), ALPN).unwrap();
    let port = pilot.xds_address().port();
    let csrs: Vec<String> = (0..AGENTS).map(|_| csr_for(&PrivateKey::generate().unwrap()).unwrap()).collect();

    let before = cpu(UsageWho::RUSAGE_SELF) - cpu(UsageWho::RUSAGE_THREAD);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut agents: Vec<(Duration, u32)> = runtime.block_on(async {
        let mut asking = JoinSet::new();
        let begun = Instant::now();
        for (number, csr) in csrs.into_iter().enumerate() {
            let (tls, pilot) = (tls.clone(), format!("https://vm{number}.agents.test:{port}").parse().unwrap());
            asking.spawn(async move {
                let mut again = 0;
                while ask(&pilot, &tls, &csr).await.is_err() {
                    again += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                (begun.elapsed(), again)
            });
        }
        asking.join_all().await
    });
    let spent = cpu(UsageWho::RUSAGE_SELF) - cpu(UsageWho::RUSAGE_THREAD) - before;
    agents.sort_unstable();
    println!(
        "{}",
        json!({
            "signed_per_s": signed.round(),
            "agents": AGENTS,
            "all_ms": agents[AGENTS - 1].0.as_millis() as u64,
            "median_ms": agents[AGENTS / 2].0.as_millis() as u64,
            "pilot_ms": spent.num_milliseconds(),
            "asked_again": agents.iter().map(|(_, again)| again).sum::<u32>(),
        })
    );
}

async fn ask(pilot: &Uri, tls: &ClientTls, csr: &str) -> Result<(), ExchangeError> {
    let wish = CertificateWish { csr, life: None, latest: None, proof: None };
    request_certificate(pilot, tls, &ExchangeSettings::default(), wish).await.map(drop)
}

fn signed_per_second(mesh: &Authority) -> f64 {
    let now = Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
    let (certificate, key) = (mesh.pem(), mesh.key_pem().into());
    let files = AuthorityFiles { certificate: &certificate, private_key: &key, roots: None };
    let authority = CertificateAuthority::open(files, now).unwrap();
    let request = csr_for(&PrivateKey::generate().unwrap()).unwrap();
    let spiffe_id = "spiffe://boshy/ns/fleet/sa/web".parse().unwrap();
    let names = WorkloadNames { spiffe_id, dns_name: "8b8a0b7c-6c0e-4f7e-9d1c-5f1f9d3c2a10.boshy".to_owned() };
    let begun = Instant::now();
    for _ in 0..SIGNED {
        authority.issue(&Csr::from_pem(&request).unwrap(), &names, Duration::from_secs(3600), now).unwrap();
    }
    f64::from(SIGNED) / begun.elapsed().as_secs_f64()
}

/// The instance whose VM has the address of `vmNUMBER.agents.test`.
fn row(number: usize) -> Value {
    json!({
        "agent_id": format!("agent-{number}"), "cid": "vm", "job": "web", "index": number, "id": format!("id-{number}"),
        "az": "z1", "ips": [format!("10.200.{}.{}", number / 250, number % 250 + 1)],
        "vm_created_at": "2026-11-23T15:13:10Z", "expects_vm": true,
    })
}

fn cpu(of: UsageWho) -> TimeVal {
    let usage = getrusage(of).unwrap();
    usage.user_time() + usage.system_time()
}
