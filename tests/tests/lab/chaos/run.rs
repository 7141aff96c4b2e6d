//! A run: round after round of faults, each followed by a state that must be the right one.

use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use boshy_tests::chaos::{Answer, FLEET, Happening, Oracle, Round, Scene, Schedule, TWIN, Target, Violation, Vm, now};

use super::{
    callers::Callers,
    operator,
    settled::Settled,
    strike::{Stage, strike},
    witness::{Witness, machine},
};
use crate::{
    driver::Lab,
    manifests::{orchard, small},
    mtls::{OPERATIONS, redeploy},
};

/// Time from the end of the last fault to the right state on every node.
const SETTLES: Duration = Duration::from_secs(60);
/// Time for the ops files: with mutual TLS every VM gets a certificate, and then every service a mode.
const SETS: Duration = Duration::from_secs(120);
/// Pause between two looks at the state.
const LOOK: Duration = Duration::from_millis(200);
/// A violation after another of the same round says nothing more.
const SHOWN: usize = 10;

pub(super) struct Run {
    lab: Arc<Lab>,
    seed: u64,
    scene: Scene,
    /// The common table at first, where there is one.
    table: Option<String>,
    schedule: Box<dyn Iterator<Item = Round>>,
    callers: Callers,
    oracle: Oracle,
    witness: Witness,
    vips: BTreeMap<String, String>,
    happenings: Vec<Happening>,
    requests: usize,
    failed: usize,
    violations: usize,
    /// The longest time to the right state, and what lacked last.
    slowest: (Duration, String),
}

impl Run {
    /// Brings the lab up, with callers in all VMs, and applies these ops files. All faults have `only` in their text.
    pub(super) fn start(seed: u64, only: &str, operations: &str) -> Self {
        eprintln!("the machine: {}", machine());
        let lab = Lab::with_clocks(&[&small(), &orchard()]);
        lab.is_in_agreement();
        let mut witness = Witness::default();
        witness.put_rules(&lab);
        let vips = lab.vips();
        for operation in operations.split_whitespace() {
            redeploy(&lab, &format!("{OPERATIONS}/{operation}.yml"));
        }
        let scene = Scene::after(operations.split_whitespace());
        let (settled, begun) = (Settled::of(&lab, scene, &vips), Instant::now());
        while let Some(what) = settled.lacks(&lab) {
            assert!(begun.elapsed() < SETS, "the scene is not set: {what}");
            thread::sleep(LOOK);
        }
        let table = scene.several_pilots.then(|| operator::table(&lab).unwrap());
        let lab = Arc::new(lab);
        let callers = Callers::start(&lab);
        let run = Self {
            lab,
            seed,
            scene,
            table,
            schedule: Box::new(Schedule::drawn(seed, scene).only(only.to_owned())),
            callers,
            oracle: Oracle::of(scene),
            witness,
            vips,
            happenings: Vec::new(),
            requests: 0,
            failed: 0,
            violations: 0,
            slowest: (Duration::ZERO, String::new()),
        };
        run.lab.eventually("every VM is answered by every service", || run.all_answered_since(0));
        run
    }

    /// Rounds, until this many are enough or the state does not become right again.
    pub(super) fn rounds(&mut self, enough: impl Fn(usize) -> bool) {
        let mut done = 0;
        while !enough(done) && self.round(done) {
            done += 1;
        }
    }

    /// One round. Returns whether all nodes have the right state again.
    fn round(&mut self, number: usize) -> bool {
        let Some(round) = self.schedule.next() else { return false };
        eprintln!("round {number} of seed {}:\n{}", self.seed, round);
        self.happenings.extend(self.carried_out(&round));
        let settled = self.settles();
        let mut violations = self.judged();
        violations.extend(self.witness.violations(&self.lab, self.scene));
        self.witness.put_rules(&self.lab);
        let is_settled = settled.is_ok();
        violations.extend(settled.err().map(|what| Violation::Unsettled { what }));
        self.violations += violations.len();
        for violation in violations.iter().take(SHOWN) {
            eprintln!("VIOLATION in round {number} of seed {}: {violation}", self.seed);
        }
        if !violations.is_empty() {
            let recent = self.happenings.iter().skip(self.happenings.len() - round.0.len());
            recent.for_each(|happening| eprintln!("  {happening}"));
            eprintln!("  the machine: {}", machine());
        }
        eprintln!(
            "  {} faults, {} requests, {} failed, {} violations",
            self.happenings.len(),
            self.requests,
            self.failed,
            self.violations
        );
        is_settled
    }

    /// All faults of a round, each at its time.
    fn carried_out(&self, round: &Round) -> Vec<Happening> {
        let stage = &Stage { lab: &self.lab, scene: self.scene, table: self.table.as_deref() };
        thread::scope(|scope| {
            let strikes: Vec<_> = round.0.iter().map(|planned| scope.spawn(|| strike(stage, planned))).collect();
            strikes.into_iter().map(|strike| strike.join().unwrap()).collect()
        })
    }

    /// Waits for the right state on all nodes, and says what it still lacks at the end of the time.
    fn settles(&mut self) -> Result<(), String> {
        let (begun, healed) = (Instant::now(), now());
        let wanted = Settled::of(&self.lab, self.scene, &self.vips);
        let mut lacked = String::new();
        loop {
            let lacks = wanted.lacks(&self.lab);
            let lacks = lacks
                .or_else(|| self.table_lacks())
                .or_else(|| (!self.all_answered_since(healed)).then(|| "a VM is not answered by a service".to_owned()));
            let Some(what) = lacks else {
                if begun.elapsed() > self.slowest.0 {
                    self.slowest = (begun.elapsed(), lacked);
                }
                return Ok(());
            };
            if begun.elapsed() > SETTLES {
                return Err(what);
            }
            lacked = what;
            thread::sleep(LOOK);
        }
    }

    /// Whether the common table is gone, where there should be one.
    fn table_lacks(&self) -> Option<String> {
        let is_gone = self.scene.several_pilots && operator::table(&self.lab).is_none();
        is_gone.then(|| "the common table is not there".to_owned())
    }

    /// Whether each VM has been answered by each service since then.
    fn all_answered_since(&self, since: u64) -> bool {
        self.callers.peek(|heard| {
            let answered = |vm: Vm, target: &Target| {
                let host = target.host();
                heard.iter().rev().any(|(from, request)| {
                    *from == vm
                        && request.begun >= since
                        && request.to == host
                        && matches!(request.answer, Answer::From(_))
                })
            };
            FLEET.into_iter().all(|vm| Target::ALL.iter().all(|target| target.group == TWIN || answered(vm, target)))
        })
    }

    /// Shows the oracle what was heard.
    fn judged(&mut self) -> Vec<Violation> {
        let mut violations = Vec::new();
        for (from, request) in self.callers.take() {
            self.requests += 1;
            self.failed += usize::from(request.to.0 != twin() && !matches!(request.answer, Answer::From(_)));
            violations.extend(self.oracle.judge(from, &request, &self.happenings));
        }
        violations
    }

    /// Ends the run, which fails when there was a violation.
    pub(super) fn end(self) {
        let Self { seed, happenings, requests, failed, violations, slowest: (slowest, lacked), witness, .. } = self;
        eprintln!(
            "seed {seed}: {} faults, {requests} requests, {failed} of them failed, \
             slowest to settle {slowest:.1?} (at last {lacked:?}), most memory {:?} kB, {violations} violations",
            happenings.len(),
            witness.resident
        );
        assert_eq!(violations, 0, "see VIOLATION above; `make chaos SEED={seed}` brings the same faults again");
    }
}

fn twin() -> String {
    Target::ALL[3].host().0
}
