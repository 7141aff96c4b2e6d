//! The loop over one UDP socket.

use std::{io, net, os::fd::AsFd, sync::Arc};

use tokio::{io::Interest, net::UdpSocket, task::yield_now, time::Instant};

use crate::{
    CurrentZone, Rcode, Stats, StatsSnapshot,
    batch::{BATCH, Batch},
    respond::{Datagram, respond},
    waiting::Waiting,
    wire::PAYLOAD,
};

/// Answers datagrams forever.
///
/// # Errors
/// When the socket cannot be used or receiving fails. A single answer that cannot be sent is counted and is not an
/// error.
pub(crate) async fn run(socket: net::UdpSocket, zones: CurrentZone, stats: Arc<Stats>) -> io::Result<()> {
    let socket = UdpSocket::from_std(socket)?;
    let (mut batch, mut waiting) = (Batch::new(), Waiting::default());
    let mut changes = zones.changes();
    loop {
        if waiting.is_empty() {
            socket.readable().await?;
        } else {
            tokio::select! {
                readable = socket.readable() => readable?,
                () = waiting.woken(&mut changes) => stats.add(&settle(&socket, &mut waiting, &zones)),
            }
        }
        let received = receive(&socket, &mut batch)?;
        if received > 0 {
            let mut counted = answer(&mut batch, &zones, &mut waiting);
            counted.unsent = send(&socket, &mut batch).await?;
            stats.add(&counted);
        }
        // A socket that stays readable does not use up tokio's budget, so a flood would occupy the thread.
        if received == BATCH {
            yield_now().await;
        }
    }
}

/// Receives a batch. Returns the number of datagrams.
fn receive(socket: &UdpSocket, batch: &mut Batch) -> io::Result<usize> {
    let mut received = 0;
    let round = socket.try_io(Interest::READABLE, || {
        received = batch.receive(socket.as_fd())?;
        // A batch that is not full has emptied the socket. Reporting this here saves another call.
        if received < BATCH { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match round {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(received),
    }
}

fn answer(batch: &mut Batch, zones: &CurrentZone, waiting: &mut Waiting) -> StatsSnapshot {
    let zone = zones.load();
    let mut counted = StatsSnapshot::default();
    batch.answer(|datagram, from, out| {
        counted.queries += 1;
        counted.cut_short += u64::from(datagram.cut_short);
        let response = respond(&zone, datagram, out);
        match response {
            Some(response)
                if response.rcode == Rcode::ServFail && from.is_some_and(|from| waiting.keep(from, datagram)) =>
            {
                return None;
            }
            Some(response) => counted.count_answer(response.rcode, response.plain),
            None => counted.dropped += 1,
        }
        response.map(|response| response.length)
    });
    counted
}

/// Answers the waiting questions whose answer is known now, or whose time is up.
fn settle(socket: &UdpSocket, waiting: &mut Waiting, zones: &CurrentZone) -> StatsSnapshot {
    let (zone, now) = (zones.load(), Instant::now());
    let mut counted = StatsSnapshot::default();
    let mut out = [0; PAYLOAD];
    waiting.settle(|question| {
        let datagram = Datagram { octets: &question.octets, cut_short: false };
        let Some(response) = respond(&zone, datagram, &mut out) else { return true };
        if response.rcode == Rcode::ServFail && !question.is_due(now) {
            return false;
        }
        counted.count_answer(response.rcode, response.plain);
        counted.unsent += u64::from(socket.try_send_to(&out[..response.length], question.from).is_err());
        true
    });
    counted
}

/// Sends all answers, and waits for room when the kernel's buffer is full. Returns how many the kernel refused.
async fn send(socket: &UdpSocket, batch: &mut Batch) -> io::Result<u64> {
    loop {
        match socket.try_io(Interest::WRITABLE, || batch.send(socket.as_fd())) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.writable().await?,
            done => return done,
        }
    }
}

#[cfg(test)]
#[path = "udp_tests.rs"]
#[expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]
mod tests;
