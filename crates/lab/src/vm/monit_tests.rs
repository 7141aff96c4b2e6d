use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

fn written(start: &str) -> String {
    format!(
        "# the one process\ncheck process web\n  with pidfile /var/vcap/sys/run/bpm/web/web.pid\n  start program \"{start}\"\n  stop program \"{BPM} stop web\"\n  group vcap\n"
    )
}

fn check(name: &str, job: &str, process: &str) -> Check {
    Check { name: name.to_owned(), job: job.to_owned(), process: process.to_owned(), health: None }
}

#[test]
fn a_process_of_the_job_s_own_name_needs_no_option() {
    assert_eq!(parse(&written(&format!("{BPM} start web"))), Ok(vec![check("web", "web", "web")]));
    assert_eq!(parse(" \n# nothing\n"), Ok(vec![]));
}

#[test]
fn a_file_may_have_several_checks_times_and_equals_signs() {
    let text = format!(
        "check process one with pidfile /var/vcap/sys/run/bpm/web/worker.pid start program = '{BPM} start web -p worker' with timeout 60 seconds group vcap\n\
         CHECK PROCESS two pidfile \"/var/vcap/sys/run/bpm/web/web.pid\" start program \"{BPM} start web\" timeout 5 seconds"
    );
    assert_eq!(parse(&text), Ok(vec![check("one", "web", "worker"), check("two", "web", "web")]));
}

#[test]
fn a_question_that_a_process_has_to_answer_is_read() {
    let bpm = written(&format!("{BPM} start web"));
    let asked = |expect: &str| {
        format!(
            "{bpm}  if failed unixsocket /run/web.sock\n    send \"GET / HTTP/1.0\\r\\n\\r\\n\" expect \"{expect}\"\n    timeout 5 seconds for 6 cycles then restart\n"
        )
    };
    let health = HealthCheck {
        socket: "/run/web.sock".into(),
        send: "GET / HTTP/1.0\r\n\r\n".to_owned(),
        expect: "HTTP/1.0 200".to_owned(),
        timeout: Duration::from_secs(5),
        cycles: 6,
    };
    assert_eq!(parse(&asked("HTTP/1.0 200")), Ok(vec![Check { health: Some(health), ..check("web", "web", "web") }]));
    assert!(parse(&asked("HTTP/1.[01] 200")).unwrap_err().contains("regular expression"));
}

#[test]
fn what_is_not_understood_is_refused_by_its_line_and_word() {
    let bpm = written(&format!("{BPM} start web"));
    let wrong = [
        (format!("{bpm}  if totalmem > 1 GB then restart"), "line 7: there is `totalmem` where `failed` belongs"),
        (written("/var/vcap/jobs/web/bin/ctl start"), "line 4: the start program \"/var/vcap/jobs/web/bin/ctl start\""),
        (written(&format!("{BPM} stop web")), "not a call of bpm"),
        (bpm.replace("web.pid", "other.pid"), "but bpm writes /var/vcap/sys/run/bpm/web/web.pid"),
        (bpm.replace("start program", "beginne program"), "`beginne`"),
        ("check file x".to_owned(), "line 1: there is `file` where `process` belongs"),
        ("check process".to_owned(), "ends where the name"),
        ("check process x with pidfile 'a".to_owned(), "line 1: a quote is not closed"),
        ("check process x with pidfile a".to_owned(), "process x has no start program"),
    ];
    for (text, reason) in wrong {
        let error = parse(&text).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}

/// Words of the language and others, for any order.
const WORDS: [&str; 18] = [
    "check",
    "process",
    "with",
    "pidfile",
    "/var/vcap/sys/run/bpm/web/web.pid",
    "start",
    "stop",
    "program",
    "\"",
    "'",
    "#",
    "=",
    "\"/var/vcap/jobs/bpm/bin/bpm start web\"",
    "group",
    "timeout",
    "seconds",
    "é",
    "\n",
];

fn words() -> impl Strategy<Value = String> {
    vec(select(&WORDS[..]), 0..40).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn whatever_is_written_is_understood_or_refused(text in prop_oneof![any::<String>(), words()]) {
        match parse(&text) {
            Ok(checks) => prop_assert!(checks.iter().all(|check| !check.job.is_empty() && !check.process.is_empty())),
            Err(reason) => prop_assert!(!reason.is_empty()),
        }
    }

    #[test]
    fn every_process_that_bpm_can_start_is_read_as_written(
        processes in vec(("[a-z][a-z0-9_-]{0,8}", "[a-z][a-z0-9_-]{0,8}", "[a-z][a-z0-9_-]{0,8}", any::<bool>()), 0..4),
    ) {
        let (mut text, mut wanted) = (String::new(), Vec::new());
        for (name, job, process, timed) in &processes {
            let timeout = if *timed { "with timeout 60 seconds" } else { "" };
            text += &format!(
                "check process \"{name}\" with pidfile /var/vcap/sys/run/bpm/{job}/{process}.pid # {name}\n\
                 start program = '{BPM} start {job} -p {process}' {timeout}\nstop program \"{BPM} stop {job} -p {process}\"\ngroup vcap\n"
            );
            wanted.push(check(name, job, process));
        }
        prop_assert_eq!(parse(&text), Ok(wanted));
    }
}
