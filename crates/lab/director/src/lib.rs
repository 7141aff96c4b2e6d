//! A director to test against, and the director of the one-machine lab.
//!
//! ```text
//!   server ── TLS, HTTP, faults ──> DirectorApi::answer(request, now) ── routes/* ──> World <── a moment at a time ── execute/* ──> Infrastructure
//!   Handle ── deploy, delete, inject, requests ─────────────────────────────────────^  └── queue of tasks ────────────^
//! ```
//!
//! An answer is a pure function of the director's state; recorded answers of a real director are the reference.
//!
//! Without an [`Infrastructure`] it is a director on paper: releases and stemcells need not exist, runtime configs are
//! stored but not applied, and tasks are completed at once. Code that creates VMs for it follows [`Handle::subscribe`].
//! With an infrastructure, tasks take time: uploads are resolved and rendered, VMs are created, and orders are sent to
//! their agents.
//!
//! Not promised: persistence beyond its own life. Cloud properties have no effect, there are no disks, errands are not
//! run, VMs have no SSH, and a task's debug output contains only what is otherwise known about it.

mod auth;
mod clock;
mod cloud;
mod diff;
mod error;
mod execute;
mod fault;
mod infrastructure;
mod manifest;
pub mod release;
mod request;
mod resolve;
mod routes;
mod server;
mod settings;
mod stores;
mod tls;
mod world;

use secrecy::SecretString;
use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, atomic::AtomicBool, mpsc as std_mpsc},
    thread::JoinHandle,
};

use tokio::sync::{mpsc, watch};

use self::{
    auth::Gate,
    fault::Faults,
    routes::DirectorApi,
    server::{Command, Shared, lock, now},
    stores::{Stemcell, Stores},
};
pub use self::{
    auth::{Account, Authentication},
    error::DirectorError,
    fault::Fault,
    infrastructure::{
        AgentError, AgentState, ApplySpec, Done, Infrastructure, PackageRef, ProcessState, RenderedFile, RenderedJob,
        VmSpec,
    },
    settings::EmbeddedSettings,
    tls::TlsError,
    world::{DeploymentView, Instance, InstanceState, TaskId, Vm, World, WorldView},
};
use boshy_director::client::Credentials;

/// The cloud config of a lab on one machine, with one network for all availability zones. The first address assigned is
/// 10.244.0.126, and those of 10.244.3.0/24 can be requested.
pub const LAB_CLOUD_CONFIG: &str = "\
azs:
- name: z1
- name: z2
- name: z3
vm_types:
- name: default
- name: small
disk_types:
- name: default
  disk_size: 1024
networks:
- name: default
  type: manual
  subnets:
  - range: 10.244.0.0/16
    gateway: 10.244.0.1
    azs: [z1, z2, z3]
    reserved: [10.244.0.2-10.244.0.125]
    static: [10.244.3.1-10.244.3.254]
compilation:
  workers: 1
  az: z1
  network: default
  vm_type: default
";

/// An embedded director could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its certificate could not be created.
    #[error("cannot set up TLS for the embedded director")]
    Tls(#[source] TlsError),
    /// It could not listen.
    #[error("cannot serve the embedded director")]
    Listen(#[source] io::Error),
}

/// Starts directors.
#[derive(Debug)]
pub struct EmbeddedDirector;

/// A running embedded director. It ends when this is dropped.
pub struct Handle {
    shared: Arc<Shared>,
    commands: Option<mpsc::UnboundedSender<Command>>,
    stop: Option<mpsc::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
    address: SocketAddr,
    ca_pem: String,
    credentials: Credentials,
}

impl EmbeddedDirector {
    /// Starts a director on a listener, in a thread of its own. Call it in the network namespace of the listener.
    ///
    /// # Errors
    /// When the certificate cannot be created or the listener cannot be used.
    pub fn start(listener: TcpListener, settings: EmbeddedSettings, world: World) -> Result<Handle, StartError> {
        Self::start_on(vec![listener], settings, world)
    }

    /// Starts a director on several listeners, which may belong to several network namespaces; its handle returns the
    /// address of the first. After [`Fault::ConnectionRefused`], all are bound again in the namespace of the caller.
    ///
    /// # Errors
    /// When the certificate cannot be created or a listener cannot be used.
    pub fn start_on(
        listeners: Vec<TcpListener>,
        settings: EmbeddedSettings,
        mut world: World,
    ) -> Result<Handle, StartError> {
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>();
        let addresses = addresses.map_err(StartError::Listen)?;
        let address = *addresses.first().ok_or_else(|| StartError::Listen(io::ErrorKind::AddrNotAvailable.into()))?;
        let mut names = settings.names;
        names.extend(addresses.iter().map(|address| address.ip().to_string()));
        let (config, ca_pem) = tls::server(&names).map_err(StartError::Tls)?;
        let credentials = first_credentials(&settings.authentication);
        world.has_vms = settings.infrastructure.is_some();
        world.stores = Stores::new(settings.store, &settings.name);
        for (os, version) in settings.stemcells {
            let name = format!("bosh-warden-boshlite-{os}-go_agent");
            world.stores.stemcells.add(Stemcell { name, os, version });
        }
        let (view, _) = watch::channel(Arc::new(world.view()));
        let gate = Gate::new(settings.authentication, &settings.uuid);
        let (jobs, queued) = mpsc::unbounded_channel();
        let director =
            DirectorApi { name: settings.name, uuid: settings.uuid, world, gate, ssh_hint: settings.ssh_hint };
        let shared = Arc::new(Shared {
            director: Mutex::new(director),
            faults: Mutex::new(Faults::default()),
            requests: Mutex::new(BTreeMap::new()),
            view,
            max_body: settings.max_body,
            is_up: AtomicBool::new(true),
            jobs: settings.infrastructure.is_some().then_some(jobs),
        });
        let mut threads = Vec::new();
        let (commands, receiver) = mpsc::unbounded_channel();
        let of_thread = Arc::clone(&shared);
        threads.push(thread("embedded-director", move |ready| {
            server::run(listeners, &config, &of_thread, receiver, ready);
        })?);
        let (stop, stopped) = mpsc::channel(1);
        if let Some(infrastructure) = settings.infrastructure {
            let of_thread = Arc::clone(&shared);
            threads.push(thread("director-tasks", move |ready| {
                execute::run(of_thread, infrastructure, queued, stopped, ready);
            })?);
        }
        Ok(Handle { shared, commands: Some(commands), stop: Some(stop), threads, address, ca_pem, credentials })
    }
}

/// Starts a thread and waits until it reports that it is ready.
fn thread(
    name: &str,
    work: impl FnOnce(&std_mpsc::Sender<io::Result<()>>) + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    let (ready, is_ready) = std_mpsc::channel();
    #[expect(clippy::disallowed_methods, reason = "a stage for tests, which fail by what they ask it in vain")]
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&ready));
    let thread = thread.map_err(StartError::Listen)?;
    let outcome = is_ready.recv().unwrap_or_else(|_| Err(io::Error::other("its thread ended")));
    outcome.map_err(StartError::Listen)?;
    Ok(thread)
}

fn first_credentials(authentication: &Authentication) -> Credentials {
    let (Authentication::Basic(accounts) | Authentication::Uaa { clients: accounts, .. }) = authentication;
    let none = Account { name: String::new(), secret: SecretString::from(""), scopes: Vec::new() };
    let account = accounts.first().cloned().unwrap_or(none);
    Credentials { name: account.name, secret: account.secret }
}

impl Handle {
    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https://ADDRESS:PORT`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The CA of its certificate.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The first account: a local user, or a client of its UAA.
    pub fn credentials(&self) -> Credentials {
        self.credentials.clone()
    }

    /// Deploys a manifest on paper.
    ///
    /// # Errors
    /// When it is refused, and always in a director with VMs, which requires a request.
    pub fn deploy(&self, manifest: &str) -> Result<TaskId, DirectorError> {
        self.update(|world, user| world.deploy(manifest, user, now()))
    }

    /// Shows any text as the manifest of a deployment, without a check.
    ///
    /// # Errors
    /// When there is no such deployment.
    pub fn replace_manifest(&self, deployment: &str, text: &str) -> Result<TaskId, DirectorError> {
        self.update(|world, user| world.replace_manifest(deployment, text, user, now()))
    }

    /// Shows these rows as the instances of a deployment, and records the events of a deploy.
    ///
    /// # Errors
    /// When there is no such deployment, or it has no manifest.
    pub fn show_instances(&self, deployment: &str, rows: Vec<serde_json::Value>) -> Result<TaskId, DirectorError> {
        self.update(|world, user| {
            let text = world.show_instances(deployment, rows)?;
            world.replace_manifest(deployment, &text, user, now())
        })
    }

    /// Stores a version of a config.
    ///
    /// # Errors
    /// When it is refused.
    pub fn configure(&self, kind: &str, name: &str, content: &str) -> Result<(), DirectorError> {
        self.update(|world, user| world.configure(kind, name, content, user, now()))
    }

    /// Whether there is a config of this name.
    pub fn has_config(&self, kind: &str, name: &str) -> bool {
        self.shared.with(|director| director.world.configs.latest(kind, name).is_some())
    }

    /// Deletes all versions of a config, like `bosh delete-config`.
    pub fn delete_config(&self, kind: &str, name: &str) {
        self.shared.with(|director| director.world.configs.delete(|config| config.kind == kind && config.name == name));
    }

    /// Deletes a deployment.
    ///
    /// # Errors
    /// When there is none.
    pub fn delete(&self, deployment: &str) -> Result<TaskId, DirectorError> {
        self.update(|world, user| world.delete(deployment, user, now()))
    }

    /// Changes the world as the first account.
    pub fn update<R>(&self, change: impl FnOnce(&mut World, &str) -> R) -> R {
        self.shared.with(|director| change(&mut director.world, &self.credentials.name))
    }

    /// Reads the world.
    pub fn world<R>(&self, look: impl FnOnce(&World) -> R) -> R {
        look(&lock(&self.shared.director).world)
    }

    /// Deployments and their instances, now and whenever they change.
    pub fn subscribe(&self) -> watch::Receiver<Arc<WorldView>> {
        self.shared.view.subscribe()
    }

    /// Makes every request fail in this way until [`Handle::heal`].
    pub fn inject(&self, fault: Fault) {
        if fault == Fault::ConnectionRefused {
            self.command(Command::Refuse);
        } else {
            lock(&self.shared.faults).inject(fault, None, None);
        }
    }

    /// Makes the next requests of one route fail; routes are named as in [`Handle::requests`]. The requests of one
    /// deployment are named by method and path, such as `GET /deployments/shop`.
    pub fn inject_on(&self, route: &str, fault: Fault, times: Option<u32>) {
        lock(&self.shared.faults).inject(fault, Some(route), times);
    }

    /// Ends all faults.
    pub fn heal(&self) {
        lock(&self.shared.faults).heal();
        self.command(Command::Accept);
    }

    /// Invalidates all tokens, like a UAA with new keys.
    pub fn revoke_tokens(&self) {
        lock(&self.shared.director).gate.revoke_tokens();
    }

    /// Changes an account's scopes. As with a UAA, a token keeps the scopes with which it was issued.
    pub fn grant(&self, account: &str, scopes: &[&str]) {
        lock(&self.shared.director).gate.grant(account, scopes);
    }

    /// Makes a team the only owner of a deployment.
    pub fn give(&self, deployment: &str, team: &str) {
        if let Some(record) = lock(&self.shared.director).world.deployments.get_mut(deployment) {
            record.teams = vec![team.to_owned()];
        }
    }

    /// Switches the recording of events on or off. Existing events stay.
    pub fn record_events(&self, record: bool) {
        lock(&self.shared.director).world.journal.record_events = record;
    }

    /// Number of tasks so far.
    pub fn tasks(&self) -> usize {
        lock(&self.shared.director).world.journal.tasks.len()
    }

    /// Requests so far, by route, such as `GET /deployments/:name`.
    pub fn requests(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.shared.requests).clone()
    }

    /// Sends a command to the thread and waits until it is done.
    fn command(&self, command: impl FnOnce(std_mpsc::Sender<()>) -> Command) {
        let (done, is_done) = std_mpsc::channel();
        if let Some(commands) = &self.commands
            && commands.send(command(done)).is_ok()
        {
            // An error means that the thread has ended, which the next request shows.
            let _ = is_done.recv();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        (self.commands, self.stop) = (None, None);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
