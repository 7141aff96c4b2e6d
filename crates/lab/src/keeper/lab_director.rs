//! The lab's director: like a new bosh-lite, with a cloud config and stemcells, and nothing deployed.

use std::{net::TcpListener, sync::Arc, time::Duration};

use boshy_lab_director::{
    Account, Authentication, EmbeddedDirector, EmbeddedSettings, Fault, Handle, Infrastructure, LAB_CLOUD_CONFIG,
    World, WorldView,
};
use rand::RngExt;
use secrecy::SecretString;
use tokio::sync::watch;

use super::settings::{DIRECTOR, KeeperSettings};
use crate::{
    access::Access,
    error::{Doing, LabError},
    state_dir::StateDir,
};

/// Name of the account, as in bosh-lite.
const CLIENT: &str = "admin";
/// In bosh-deployment, the tokens of `bosh_cli` are valid for two minutes.
const TOKEN_LIFETIME: Duration = Duration::from_secs(120);
/// A release with debug programs is large.
const LARGEST_BODY: usize = 2 << 30;
/// The supported stemcells; both are the host.
const STEMCELLS: [&str; 2] = ["ubuntu-jammy", "ubuntu-noble"];
/// Text that `bosh ssh` shows.
const SSH_HINT: &str =
    "VMs of the lab are namespaces without an SSH server. Use `boshy lab exec GROUP/INDEX -- COMMAND`.";

/// The running director of the lab.
pub(super) struct LabDirector {
    handle: Handle,
}

impl LabDirector {
    /// Starts a director on the lab's network, in whose namespace the calling thread must be. The host reaches it
    /// through `from_host`.
    pub(super) fn start(
        settings: &KeeperSettings,
        state: &StateDir,
        from_host: TcpListener,
        infrastructure: Arc<dyn Infrastructure>,
    ) -> Result<(Self, Access), LabError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| LabError::Director {
            operation: "starting the director".to_owned(),
            source,
        };
        let host = from_host.local_addr().doing(|| "asking where the host listens".to_owned())?;
        let secret = secret();
        let account = Account { secret: secret.clone(), ..Account::admin(CLIENT, "") };
        let authentication = if settings.uaa {
            Authentication::Uaa { clients: vec![account], token_lifetime: TOKEN_LIFETIME }
        } else {
            Authentication::Basic(vec![account])
        };
        let settings = EmbeddedSettings {
            name: "boshy-lab".to_owned(),
            authentication,
            max_body: LARGEST_BODY,
            infrastructure: Some(infrastructure),
            store: state.releases(),
            stemcells: STEMCELLS.map(|os| (os.to_owned(), "1.0".to_owned())).to_vec(),
            ssh_hint: SSH_HINT.to_owned(),
            ..EmbeddedSettings::default()
        };
        let world = World::new(LAB_CLOUD_CONFIG, true, rand::random()).map_err(|error| failed(error.into()))?;
        let listener = TcpListener::bind(DIRECTOR).doing(|| format!("listening on {DIRECTOR}"))?;
        let handle = EmbeddedDirector::start_on(vec![listener, from_host], settings, world)
            .map_err(|error| failed(error.into()))?;
        let access = Access {
            url: format!("https://{host}"),
            ca_pem: handle.ca_pem().to_owned(),
            client: CLIENT.to_owned(),
            secret,
        };
        Ok((Self { handle }, access))
    }

    /// Deployments, now and whenever they change.
    pub(super) fn view(&self) -> watch::Receiver<Arc<WorldView>> {
        self.handle.subscribe()
    }

    /// Spoils answers, of one route or of all.
    pub(super) fn spoil(&self, fault: Fault, route: Option<&str>, times: Option<u32>) -> Result<(), LabError> {
        if fault == Fault::ConnectionRefused {
            // It would listen again in the lab's network alone.
            return Err(LabError::Refused("the lab's director cannot close its port".to_owned()));
        }
        match route {
            Some(route) => self.handle.inject_on(route, fault, times),
            None => self.handle.inject(fault),
        }
        Ok(())
    }

    /// Ends all faults.
    pub(super) fn heal(&self) {
        self.handle.heal();
    }
}

fn secret() -> SecretString {
    const LENGTH: usize = 20;
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(LENGTH).map(char::from).collect::<String>().into()
}
