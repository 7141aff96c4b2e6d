//! The keeper with a pilot, a disk and a clock that the tests control.

use std::{
    collections::VecDeque,
    fs,
    os::unix::fs::PermissionsExt,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use boshy_identity::{CertificateAuthority, Csr, KeyHash};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::Instant};

use super::*;
use crate::held_identity::{
    FileError,
    samples::{self, DAY, ID},
};

const DEADLINE: Duration = Duration::from_secs(10);
/// A moment at which everything is valid.
const NOW: u64 = 1_800_000_000;

/// What the pilot does about a request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Issues,
    /// It issues, but the answer does not arrive.
    IsLost,
    Refuses,
    HasNoAuthority,
    /// It issues for another instance.
    Mistakes,
}

/// A pilot. Once it has done everything that it is told, it does the last of it again.
struct Pilot {
    ca: CertificateAuthority,
    now: Arc<AtomicU64>,
    answers: Mutex<VecDeque<Answer>>,
    /// The keys that were asked with, and whether the file had a key at that time.
    asked: Mutex<Vec<(KeyHash, bool)>>,
    file: PathBuf,
}

impl Authority for Pilot {
    fn certify(&self, csr: String, _: Option<String>) -> BoxFuture<'_, Result<Vec<String>, Unanswered>> {
        let csr = Csr::from_pem(&csr).unwrap();
        let kept = fs::read_to_string(&self.file).is_ok_and(|content| content.contains("PRIVATE KEY"));
        self.asked.lock().unwrap().push((csr.key_hash(), kept));
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().copied() };
        let failure = |reason: &str| Failure { reason: reason.to_owned(), remedy: "Mend it.".to_owned() };
        let answer = match answer.unwrap() {
            Answer::Issues => Ok(self.issue(&csr, ID)),
            Answer::Mistakes => Ok(self.issue(&csr, "00000000-0000-0000-0000-000000000000")),
            Answer::IsLost => Err(Unanswered::Away(failure("no answer"))),
            Answer::Refuses => Err(Unanswered::Refused(failure("another key is known"))),
            Answer::HasNoAuthority => Err(Unanswered::NoAuthority),
        };
        Box::pin(async move { answer })
    }
}

impl Pilot {
    fn issue(&self, csr: &Csr, id: &str) -> Vec<String> {
        samples::issue(&self.ca, csr, id, Timestamp(self.now.load(Ordering::Relaxed)))
    }

    fn asked(&self) -> Vec<KeyHash> {
        self.asked.lock().unwrap().iter().map(|(key, _)| *key).collect()
    }

    fn will(&self, answers: &[Answer]) {
        *self.answers.lock().unwrap() = answers.iter().copied().collect();
    }
}

/// A VM with its pilot. The clocks of both are the same unless a test sets the VM's.
struct Vm {
    parts: IdentityKeeperParts,
    pilot: Arc<Pilot>,
    clock: Arc<AtomicU64>,
    exchange: watch::Sender<ExchangeStatus>,
    keeper: JoinHandle<()>,
    folder: TempDir,
}

impl Vm {
    fn start(answers: &[Answer]) -> Self {
        Self::start_in("state", answers)
    }

    fn start_in(state_dir: &str, answers: &[Answer]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(state_dir).join("identity");
        let (clock, now) = (Arc::new(AtomicU64::new(NOW)), Arc::new(AtomicU64::new(NOW)));
        let pilot = Arc::new(Pilot {
            ca: samples::authority(Timestamp(NOW)),
            now,
            answers: Mutex::new(answers.iter().copied().collect()),
            asked: Mutex::default(),
            file: file.clone(),
        });
        let exchange = watch::Sender::default();
        let read = Arc::clone(&clock);
        let soon = Duration::from_millis(5);
        let parts = IdentityKeeperParts {
            file,
            id: ID.to_owned(),
            authority: Arc::clone(&pilot) as _,
            tls: None,
            now: Arc::new(move || Timestamp(read.load(Ordering::Relaxed))),
            pace: Pace {
                retry: Backoff { first: soon, longest: soon, jitter: 0.0 },
                look: soon,
                without_authority: DEADLINE * 10,
            },
            held: watch::Sender::default(),
            trouble: Arc::default(),
            exchange: exchange.subscribe(),
            renew: Arc::default(),
        };
        let keeper = tokio::spawn(keep(parts.clone(), Heart::unwatched()));
        Self { parts, pilot, clock, exchange, keeper, folder }
    }

    /// The time is this many seconds after the start, for VM and pilot.
    fn at(&self, seconds: u64) {
        self.pilot.now.store(NOW + seconds, Ordering::Relaxed);
        self.clock.store(NOW + seconds, Ordering::Relaxed);
    }

    /// The keeper's task begins anew, with what outlives it.
    async fn restart_keeper(&mut self) {
        self.keeper.abort();
        assert!((&mut self.keeper).await.unwrap_err().is_cancelled());
        self.keeper = tokio::spawn(keep(self.parts.clone(), Heart::unwatched()));
    }

    /// The process begins anew, with what is on disk.
    async fn restart(&mut self) {
        self.keeper.abort();
        assert!((&mut self.keeper).await.unwrap_err().is_cancelled());
        let held = Held::unseal(&fs::read(&self.parts.file).unwrap()).unwrap();
        self.parts.held = watch::Sender::new(Arc::new(held));
        self.parts.trouble = Arc::default();
        self.keeper = tokio::spawn(keep(self.parts.clone(), Heart::unwatched()));
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let since = Instant::now();
        while !holds(self) {
            assert!(since.elapsed() < DEADLINE, "not in time: {what}: {:?}", self.parts.trouble);
            assert!(!self.keeper.is_finished(), "the keeper ended");
            sleep(Duration::from_millis(1)).await;
        }
    }

    async fn asks(&self, times: usize) {
        self.until("the pilot is asked", |vm| vm.pilot.asked().len() >= times).await;
    }

    /// Waits for a certificate of this key, on disk as well.
    async fn has_certificate_of(&self, key: KeyHash) -> Arc<Issued> {
        let on_disk = |vm: &Self| fs::read(&vm.parts.file).ok().and_then(|content| Held::unseal(&content).ok());
        let is = |held: &Held| held.issued().is_some_and(|issued| issued.leaf.key == key);
        self.until("there is a certificate", |vm| {
            is(&vm.parts.held.borrow()) && on_disk(vm).is_some_and(|held| is(&held))
        })
        .await;
        self.issued().unwrap()
    }

    fn issued(&self) -> Option<Arc<Issued>> {
        self.parts.held.borrow().issued().cloned()
    }

    async fn gets_first_certificate(&self) -> Arc<Issued> {
        self.asks(1).await;
        self.has_certificate_of(self.pilot.asked()[0]).await
    }

    fn lacks(&self) -> Option<String> {
        let (issued, now) = (self.issued(), (self.parts.now)());
        Some(self.parts.trouble.load().want(issued.as_ref().map(|issued| &issued.leaf), now)?.reason)
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

#[tokio::test]
async fn a_key_is_on_disk_before_it_is_asked_with_and_nobody_else_reads_it() {
    let vm = Vm::start(&[Answer::Issues]);
    let issued = vm.gets_first_certificate().await;
    assert_eq!(issued.leaf.spiffe_id.to_string(), "spiffe://boshy/ns/shop/sa/api");
    assert!(vm.pilot.asked.lock().unwrap().iter().all(|(_, kept)| *kept));
    assert_eq!(fs::metadata(&vm.parts.file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(vm.lacks(), None);
    let shown = format!("{:?} {:?} {:?}", vm.parts.held, issued.secrets(), issued.status(Timestamp(NOW)));
    let secret = issued.secrets().private_key.expose_secret().lines().nth(1).unwrap().to_owned();
    assert!(!shown.contains(&secret) && issued.status(Timestamp(NOW)).roots.len() == 1, "{shown}");
}

#[tokio::test]
async fn a_restart_of_the_keeper_or_of_the_process_loses_nothing_and_asks_for_nothing() {
    let mut vm = Vm::start(&[Answer::Issues]);
    let issued = vm.gets_first_certificate().await;
    vm.restart_keeper().await;
    assert!(Arc::ptr_eq(&vm.issued().unwrap(), &issued));
    vm.restart().await;
    assert_eq!(vm.issued().unwrap().leaf, issued.leaf);
    // What is not due is not asked for: the next request is the renewal.
    vm.at(DAY / 2 + DAY / 10);
    vm.asks(2).await;
    assert_eq!(vm.pilot.asked().len(), 2);
}

#[tokio::test]
async fn a_certificate_is_renewed_with_a_new_key_at_half_of_its_life() {
    let vm = Vm::start(&[Answer::Issues]);
    let first = vm.gets_first_certificate().await;
    assert!((NOW + DAY * 4 / 10..NOW + DAY * 6 / 10).contains(&first.renew_at.0), "{}", first.renew_at.0 - NOW);
    vm.at(first.renew_at.0 - NOW);
    vm.asks(2).await;
    let second = vm.has_certificate_of(vm.pilot.asked()[1]).await;
    assert!(second.leaf.key != first.leaf.key && second.leaf.not_after > first.leaf.not_after);
}

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_again_with_the_same_key_also_by_the_next_process() {
    let mut vm = Vm::start(&[Answer::IsLost]);
    vm.asks(2).await;
    vm.restart().await;
    let before = vm.pilot.asked().len();
    vm.asks(before + 1).await;
    assert_eq!(vm.lacks(), None, "the pilot is away, and the status says so elsewhere");
    vm.pilot.will(&[Answer::Issues]);
    let first = vm.pilot.asked()[0];
    vm.has_certificate_of(first).await;
    assert!(vm.pilot.asked().iter().all(|key| *key == first));
}

#[tokio::test]
async fn a_refusal_is_reported_with_its_reason_until_it_is_over() {
    let vm = Vm::start(&[Answer::Refuses]);
    vm.asks(1).await;
    vm.until("the refusal is reported", |vm| vm.lacks().as_deref() == Some("another key is known")).await;
    vm.pilot.will(&[Answer::Issues]);
    let first = vm.pilot.asked()[0];
    vm.has_certificate_of(first).await;
    assert_eq!(vm.lacks(), None);
}

#[tokio::test]
async fn a_certificate_that_is_not_renewed_is_an_alarm_in_its_last_quarter() {
    let vm = Vm::start(&[Answer::Issues]);
    vm.gets_first_certificate().await;
    vm.pilot.will(&[Answer::IsLost]);
    vm.at(DAY * 7 / 10);
    vm.asks(2).await;
    assert_eq!(vm.lacks(), None);
    vm.at(DAY * 8 / 10);
    let reason = vm.lacks().unwrap();
    assert!(reason.contains("ends at") && reason.ends_with("no answer"), "{reason}");
    vm.at(DAY * 2);
    assert!(vm.lacks().unwrap().contains("has expired"));
    assert!(vm.issued().is_some(), "it is served on");
}

#[tokio::test]
async fn a_pilot_whose_authority_is_another_one_is_asked_at_once_and_once() {
    let vm = Vm::start(&[Answer::Issues]);
    let first = vm.gets_first_certificate().await;
    let tells = |authority: &str| {
        let authority = Some(authority.to_owned());
        let told =
            boshy_xds::MeshTold { tld: Default::default(), vip_range: Default::default(), authority, table: None };
        vm.exchange.send_modify(|status| status.told = Some(told));
    };
    tells(&first.authority);
    tells("another");
    vm.asks(2).await;
    vm.has_certificate_of(vm.pilot.asked()[1]).await;
    // The answer is that of another pilot. It is not asked for again before the renewal.
    tells(&first.authority);
    tells("another");
    vm.at(DAY * 6 / 10);
    vm.asks(3).await;
    vm.has_certificate_of(vm.pilot.asked()[2]).await;
    assert_eq!(vm.pilot.asked().len(), 3);
}

/// A pilot that does not accept the certificate knows the key of the certificate, or the one that was asked with last.
#[tokio::test]
async fn after_a_life_away_the_vm_asks_with_either_key_that_a_pilot_may_know() {
    let mut vm = Vm::start(&[Answer::Issues]);
    let first = vm.gets_first_certificate().await;
    vm.at(DAY * 3);
    vm.asks(2).await;
    assert_eq!(vm.pilot.asked()[1], first.leaf.key, "no new key is made");
    vm.pilot.will(&[Answer::IsLost]);
    vm.at(DAY * 3 + DAY * 6 / 10);
    vm.asks(3).await;
    let pending = vm.pilot.asked()[2];
    assert_ne!(pending, first.leaf.key);
    vm.pilot.will(&[Answer::Refuses]);
    vm.at(DAY * 6);
    vm.restart().await;
    let before = vm.pilot.asked().len();
    vm.asks(before + 4).await;
    let asked = &vm.pilot.asked()[before..];
    assert!(asked.contains(&pending) && asked.contains(&first.leaf.key), "{asked:?}");
}

#[tokio::test]
async fn without_an_authority_nothing_is_asked_again_and_nothing_is_lacking_until_a_stream_opens() {
    let vm = Vm::start(&[Answer::HasNoAuthority, Answer::Issues]);
    vm.asks(1).await;
    vm.until("it is known", |vm| vm.parts.trouble.load().unanswered.is_some()).await;
    assert_eq!((vm.lacks(), vm.pilot.asked().len()), (None, 1));
    vm.exchange.send_modify(|status| {
        status.pilot = Some("https://pilot".to_owned());
        status.since += 1;
    });
    vm.asks(2).await;
    vm.has_certificate_of(vm.pilot.asked()[0]).await;
}

#[tokio::test]
async fn a_disk_that_takes_nothing_gets_no_key_and_is_reported_until_it_does() {
    // A file is where the directory should be.
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("blocked");
    fs::write(&blocked, "").unwrap();
    let vm = Vm::start_in(blocked.to_str().unwrap(), &[Answer::Issues]);
    vm.until("the disk is reported", |vm| vm.lacks().is_some_and(|reason| reason.contains("gets no new key"))).await;
    assert_eq!(vm.pilot.asked(), []);
    fs::remove_file(&blocked).unwrap();
    vm.gets_first_certificate().await;
    vm.until("nothing is lacking", |vm| vm.lacks().is_none()).await;
}

#[tokio::test]
async fn a_disk_that_takes_nothing_any_more_does_not_stop_renewal_with_the_key_that_is_on_it() {
    let vm = Vm::start(&[Answer::Issues]);
    let first = vm.gets_first_certificate().await;
    let state = vm.folder.path().join("state");
    fs::rename(&state, vm.folder.path().join("gone")).unwrap();
    fs::write(&state, "").unwrap();
    vm.at(DAY * 6 / 10);
    vm.until("it is renewed", |vm| vm.issued().is_some_and(|issued| issued.leaf.not_after > first.leaf.not_after))
        .await;
    assert_eq!(vm.issued().unwrap().leaf.key, first.leaf.key);
    vm.until("the disk is reported", |vm| vm.lacks().is_some()).await;
}

#[tokio::test]
async fn clocks_may_differ_by_ten_minutes_and_not_more() {
    let vm = Vm::start(&[Answer::IsLost]);
    vm.asks(1).await;
    vm.clock.store(NOW - 700, Ordering::Relaxed);
    vm.pilot.will(&[Answer::Issues]);
    vm.until("the clock is blamed", |vm| vm.lacks().is_some_and(|reason| reason.contains("valid"))).await;
    assert!(vm.issued().is_none());
    vm.clock.store(NOW - 600, Ordering::Relaxed);
    vm.has_certificate_of(vm.pilot.asked()[0]).await;
    assert_eq!(vm.lacks(), None);
}

#[tokio::test]
async fn an_answer_that_names_another_instance_is_not_used() {
    let vm = Vm::start(&[Answer::Mistakes]);
    vm.until("it is reported", |vm| vm.lacks().is_some_and(|reason| reason.contains(ID))).await;
    assert!(vm.issued().is_none());
    vm.pilot.will(&[Answer::Issues]);
    vm.has_certificate_of(vm.pilot.asked()[0]).await;
}

#[tokio::test]
async fn a_file_that_is_damaged_is_not_used() {
    let vm = Vm::start(&[Answer::Issues]);
    vm.gets_first_certificate().await;
    let mut file = fs::read(&vm.parts.file).unwrap();
    assert!(Held::unseal(&file).is_ok());
    let last = file.len() - 10;
    file[last] ^= 1;
    assert!(matches!(Held::unseal(&file), Err(FileError::Seal(_))));
    assert!(Held::unseal(b"").is_err());
}
