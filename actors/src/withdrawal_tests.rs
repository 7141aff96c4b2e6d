//! A withdrawal whose pilots are the test.

use super::*;

const ONE: &str = "http://one:15010/";
const OTHER: &str = "http://other:15010/";
const PATIENCE: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(20);

fn pilots() -> BTreeSet<String> {
    [ONE, OTHER].map(str::to_owned).into()
}

/// A withdrawal that waits for its pilots.
async fn begun(withdrawal: &Withdrawal, patience: Duration) -> tokio::task::JoinHandle<Withdrawn> {
    let mut stopping = withdrawal.stopping();
    let waits = tokio::spawn({
        let withdrawal = withdrawal.clone();
        async move { withdrawal.withdraw(&pilots(), patience).await }
    });
    timeout(DEADLINE, stopping.wait_for(|stopping| stopping.now)).await.unwrap().unwrap();
    waits
}

fn answers(withdrawal: &Withdrawal, pilot: &str, stopping: bool, taken: Result<bool, &str>) {
    withdrawal.attempted(pilot, Attempt { stopping, taken: taken.map_err(str::to_owned) });
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_every_pilot_and_then_for_the_callers() {
    let withdrawal = Withdrawal::default();
    for pilot in [ONE, OTHER] {
        answers(&withdrawal, pilot, false, Ok(true));
    }
    let waits = begun(&withdrawal, PATIENCE).await;
    answers(&withdrawal, ONE, true, Ok(true));
    // A report that was on its way says nothing.
    answers(&withdrawal, OTHER, false, Ok(true));
    sleep(PATIENCE / 2).await;
    assert!(!waits.is_finished());
    let asked = tokio::time::Instant::now();
    answers(&withdrawal, OTHER, true, Ok(true));
    let withdrawn = waits.await.unwrap();
    assert!(asked.elapsed() >= SETTLE, "callers have {:?}", asked.elapsed());
    assert_eq!(withdrawn, Withdrawn { told: vec![ONE.into(), OTHER.into()], untold: [].into(), is_called: true });
    let status = withdrawal.status(&pilots()).unwrap();
    assert_eq!(status.told, [ONE, OTHER]);
}

#[tokio::test(start_paused = true)]
async fn a_pilot_that_takes_no_report_is_named_and_not_waited_for() {
    let withdrawal = Withdrawal::default();
    let waits = begun(&withdrawal, PATIENCE).await;
    answers(&withdrawal, ONE, true, Err("connection refused"));
    let asked = tokio::time::Instant::now();
    answers(&withdrawal, OTHER, true, Ok(true));
    let withdrawn = waits.await.unwrap();
    assert!(asked.elapsed() < PATIENCE / 2);
    assert_eq!(
        (withdrawn.told, withdrawn.untold),
        (vec![OTHER.into()], [(ONE.into(), "connection refused".into())].into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_name_of_several_pilots_of_which_one_is_away_gives_callers_their_time() {
    let withdrawal = Withdrawal::default();
    let waits = begun(&withdrawal, PATIENCE).await;
    let asked = tokio::time::Instant::now();
    for pilot in [ONE, OTHER] {
        answers(&withdrawal, pilot, true, Err("one of three is away"));
    }
    waits.await.unwrap();
    assert!(asked.elapsed() >= SETTLE && asked.elapsed() < PATIENCE / 2);
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_nobody_calls_waits_for_no_callers() {
    let withdrawal = Withdrawal::default();
    let waits = begun(&withdrawal, PATIENCE).await;
    let asked = tokio::time::Instant::now();
    for pilot in [ONE, OTHER] {
        answers(&withdrawal, pilot, true, Ok(false));
    }
    assert!(!waits.await.unwrap().is_called);
    assert!(asked.elapsed() < SETTLE);
}

#[tokio::test(start_paused = true)]
async fn a_pilot_that_does_not_answer_costs_its_time_and_no_more() {
    let withdrawal = Withdrawal::default();
    for answer in [None, Some(Ok(true))] {
        let asked = tokio::time::Instant::now();
        let waits = begun(&withdrawal, Duration::from_secs(5)).await;
        answer.into_iter().for_each(|answer| answers(&withdrawal, ONE, true, answer));
        let withdrawn = waits.await.unwrap();
        assert!(withdrawn.untold.contains_key(OTHER), "{withdrawn:?}");
        assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
    }
}

#[tokio::test]
async fn it_is_taken_back_once_and_shown_no_more() {
    let withdrawal = Withdrawal::default();
    assert!(!withdrawal.take_back() && withdrawal.status(&pilots()).is_none());
    withdrawal.withdraw(&pilots(), Duration::ZERO).await;
    assert_eq!(withdrawal.status(&pilots()).unwrap().untold.len(), 2);
    assert!(withdrawal.take_back() && !withdrawal.take_back());
    assert!(withdrawal.status(&pilots()).is_none() && !withdrawal.stopping().borrow().now);
}
