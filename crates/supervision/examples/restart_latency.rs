//! Measures how long a child is away after a panic: from the panic to the answer to the message queued behind it, on
//! one thread. Prints one line of JSON, with times in microseconds.

use std::{
    panic,
    sync::Mutex,
    time::{Duration, Instant},
};

use actix::prelude::*;
use boshy_supervision::{Backoff, Tree};

const ROUNDS: usize = 2000;

static PANICKED: Mutex<Option<Instant>> = Mutex::new(None);

struct Fragile;

impl Actor for Fragile {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Break;

impl Handler<Break> for Fragile {
    type Result = ();

    fn handle(&mut self, _: Break, _: &mut Context<Self>) {
        panic!("measured");
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Ping;

impl Handler<Ping> for Fragile {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Context<Self>) {}
}

async fn measure() -> Vec<Duration> {
    let mut tree = Tree::new("bench").intensity(u32::MAX, Duration::from_secs(1));
    let fragile = tree.child("fragile", |_| Fragile).backoff(Backoff::NONE).add();
    let mut times = Vec::with_capacity(ROUNDS);
    tree.run_until(async {
        fragile.send(Ping).await.expect("up");
        for _ in 0..ROUNDS {
            fragile.try_send(Break).expect("room");
            fragile.send(Ping).await.expect("up again");
            let panicked = PANICKED.lock().expect("unshared").take().expect("it panicked");
            times.push(panicked.elapsed());
        }
    })
    .await;
    times.sort();
    times
}

#[expect(clippy::print_stdout, reason = "the result")]
fn main() {
    // Printing the panic would take most of the measured time.
    panic::set_hook(Box::new(|_| *PANICKED.lock().expect("unshared") = Some(Instant::now())));
    let times = System::new().block_on(measure());
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let (median, p99) = (micros(times[ROUNDS / 2]), micros(times[ROUNDS * 99 / 100]));
    println!(r#"{{"restart_us_median":{median:.1},"restart_us_p99":{p99:.1}}}"#);
}
