//! Sequential requests and questions in a VM during an action, each of them recorded.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{driver::Lab, manifests::Service, process::Running, wait::within};

/// A load ends on its own when its test has failed to end it.
const MOST_ROUNDS: u32 = 20_000;
/// Time for a request, longer than a job takes to restart.
const LONGEST_REQUEST: u32 = 10;
/// A repeated action in a VM. The last round is completed before it stops.
struct Rounds {
    what: String,
    lines: Arc<Mutex<Vec<String>>>,
    running: Running,
    reader: JoinHandle<()>,
}

impl Rounds {
    /// `round` writes one line.
    fn start(lab: &Lab, vm: &str, what: String, round: &str) -> Self {
        let script = format!(
            "trap 'over=1' TERM; i=0; while [ -z \"$over\" ] && [ $i -lt {MOST_ROUNDS} ]; do i=$((i+1)); {round}; sleep 0.01; done"
        );
        let (running, output) = Running::telling(lab.command(["exec", vm, "--", "sh", "-c", &script]));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                written.lock().unwrap_or_else(PoisonError::into_inner).push(line.unwrap());
            }
        });
        let rounds = Self { what, lines, running, reader };
        rounds.goes_on();
        rounds
    }

    fn so_far(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for some more rounds.
    fn goes_on(&self) {
        let before = self.so_far().len();
        within(Duration::from_secs(60), &format!("ten more rounds of {}", self.what), || {
            self.so_far().len() >= before + 10
        });
    }

    /// Runs for some more rounds, so that effects of the last change show, and ends.
    fn stop(mut self) -> Vec<String> {
        self.goes_on();
        self.running.ends_by("TERM");
        self.reader.join().unwrap();
        Arc::into_inner(self.lines).unwrap().into_inner().unwrap()
    }
}

/// Requests to a service, each over a new connection and after a new question for the name.
pub(crate) struct SteadyRequests {
    service: Service,
    rounds: Rounds,
}

impl SteadyRequests {
    /// Starts, and waits for the first request.
    pub(crate) fn start(lab: &Lab, vm: &str, service: Service) -> Self {
        let Service { host, port, .. } = service;
        let round = format!(
            "curl -s --max-time {LONGEST_REQUEST} -w '\\t%{{http_code}}\\t%{{exitcode}}\\t%{{time_total}}\\n' http://{host}:{port}/ip"
        );
        let what = format!("requests from {vm} to {host}");
        Self { service, rounds: Rounds::start(lab, vm, what, &round) }
    }

    /// Waits for some more requests.
    pub(crate) fn go_on(&self) -> &Self {
        self.rounds.goes_on();
        self
    }

    /// Waits until so many requests are made.
    pub(crate) fn until(&self, made: usize) -> &Self {
        within(Duration::from_secs(60), &format!("{made} {}", self.rounds.what), || self.rounds.so_far().len() >= made);
        self
    }

    /// Waits until this instance answers.
    pub(crate) fn reach(&self, instance: &str) -> &Self {
        let seen = self.rounds.so_far().len();
        let sign = format!("\"{instance}\"");
        within(Duration::from_secs(30), &format!("{instance} answers"), || {
            self.rounds.so_far()[seen..].iter().any(|line| line.contains(&sign))
        });
        self
    }

    /// Runs for some more requests, ends, and returns the result.
    pub(crate) fn stop(self) -> Outcome {
        let what = self.rounds.what.clone();
        let requests = self.rounds.stop().iter().map(|line| Request::parse(line)).collect();
        Outcome { what, service: self.service, requests }
    }
}

/// One request.
#[derive(Clone, Debug)]
struct Request {
    /// Instance that answered.
    instance: Option<String>,
    /// HTTP status; 000 for none.
    status: String,
    /// curl's exit status.
    exit: String,
    seconds: f64,
}

impl Request {
    fn parse(line: &str) -> Self {
        let fields: Vec<&str> = line.split('\t').collect();
        let &[body, status, exit, seconds] = fields.as_slice() else { panic!("curl wrote {line:?}") };
        let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        let instance = body["instance"].as_str().map(str::to_owned);
        Self { instance, status: status.to_owned(), exit: exit.to_owned(), seconds: seconds.parse().unwrap() }
    }

    fn answered(&self) -> bool {
        self.status == "200" && self.exit == "0" && self.instance.is_some()
    }
}

/// Result of a load.
#[must_use]
pub(crate) struct Outcome {
    what: String,
    service: Service,
    requests: Vec<Request>,
}

impl Outcome {
    /// Asserts that every request was answered by an instance of the requested service.
    pub(crate) fn is_flawless(&self) {
        self.loses_at_most(0, "");
    }

    /// Asserts that at most this number of requests got no answer, and that no answer came from another service.
    pub(crate) fn loses_at_most(&self, bound: usize, why: &str) {
        let lost: Vec<(usize, &Request)> =
            self.requests.iter().enumerate().filter(|(_, request)| !request.answered()).collect();
        let slowest = self.requests.iter().map(|request| request.seconds).fold(0.0, f64::max);
        eprintln!("{}: {} made, {} lost, slowest {slowest:.3} s", self.what, self.requests.len(), lost.len());
        assert!(lost.len() <= bound, "{}: lost more than {bound} {why}: {lost:?}", self.what);
        let prefix = format!("{}/", self.service.group);
        let strangers: BTreeSet<_> = self.answered_by().into_iter().filter(|name| !name.starts_with(&prefix)).collect();
        assert!(strangers.is_empty(), "{}: answered by {strangers:?}", self.what);
    }

    /// The instances that answered.
    pub(crate) fn answered_by(&self) -> BTreeSet<String> {
        self.requests.iter().filter_map(|request| request.instance.clone()).collect()
    }
}

/// This number of requests by eight clients in a VM at their own pace, each over a new connection. Returns the number
/// of failed requests, by curl's exit code and the HTTP status.
pub(crate) fn lost_of_many(lab: &Lab, vm: &str, service: Service, requests: usize) -> BTreeMap<String, usize> {
    const CLIENTS: usize = 8;
    let each = requests / CLIENTS;
    let Service { host, port, .. } = service;
    let client = format!(
        "curl -s --max-time {LONGEST_REQUEST} -H 'Connection: close' -o /dev/null -w '%{{exitcode}} %{{http_code}}\\n' \
         'http://{host}:{port}/ip?[1-{each}]'"
    );
    // A file for each, because concurrent writes to one pipe may be split anywhere.
    let script = format!(
        "into=$(mktemp -d); for i in $(seq {CLIENTS}); do {client} >$into/$i & done; wait; cat $into/*; rm -r $into"
    );
    let mut ends = BTreeMap::new();
    for end in lab.sh(vm, &script).lines() {
        *ends.entry(end.to_owned()).or_default() += 1;
    }
    assert_eq!(ends.values().sum::<usize>(), requests, "{vm}: curl told of {ends:?}");
    ends.remove("0 200");
    ends
}

/// Questions to a VM's agent for the address of a host, each sent once, with a timeout of a second.
pub(crate) struct SteadyQuestions {
    vip: String,
    rounds: Rounds,
}

impl SteadyQuestions {
    pub(crate) fn start(lab: &Lab, vm: &str, service: Service) -> Self {
        let vip = lab.vips()[service.host].clone();
        let round = format!("echo $(dig +short +tries=1 +time=1 -p 15053 @127.0.0.1 {} A 2>&1)", service.host);
        Self { vip, rounds: Rounds::start(lab, vm, format!("questions on {vm} for {}", service.host), &round) }
    }

    /// Ends, and asserts that every question was answered with the same address.
    pub(crate) fn all_answered(self) {
        let Self { vip, rounds } = self;
        let what = rounds.what.clone();
        let answers = rounds.stop();
        let wrong: Vec<&String> = answers.iter().filter(|answer| **answer != vip).collect();
        eprintln!("{what}: {} asked, {} unanswered", answers.len(), wrong.len());
        assert!(wrong.is_empty(), "{what}: {wrong:?} instead of {vip}");
    }
}
