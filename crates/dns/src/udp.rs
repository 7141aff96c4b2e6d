//! The loop over one UDP socket.

use std::{io, net, os::fd::AsFd, sync::Arc};

use tokio::{io::Interest, net::UdpSocket, task::yield_now};

use crate::{
    Stats, StatsSnapshot, Zones,
    batch::{BATCH, Batch},
    respond::respond,
};

/// Answers for ever.
///
/// # Errors
/// When the socket cannot be used or receiving fails; one answer that cannot be sent is counted and no error.
pub(crate) async fn run(socket: net::UdpSocket, zones: Zones, stats: Arc<Stats>) -> io::Result<()> {
    let socket = UdpSocket::from_std(socket)?;
    let mut batch = Batch::new();
    loop {
        socket.readable().await?;
        let received = receive(&socket, &mut batch)?;
        if received > 0 {
            let mut counted = answer(&mut batch, &zones);
            counted.unsent = send(&socket, &mut batch).await?;
            stats.add(&counted);
        }
        // A socket that stays readable takes nothing from tokio's budget, so a flood would keep the thread for itself.
        if received == BATCH {
            yield_now().await;
        }
    }
}

/// How many datagrams there were.
fn receive(socket: &UdpSocket, batch: &mut Batch) -> io::Result<usize> {
    let mut received = 0;
    let round = socket.try_io(Interest::READABLE, || {
        received = batch.receive(socket.as_fd())?;
        // A batch that is not full has emptied the socket: saying so here saves the call that would find out.
        if received < BATCH { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match round {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(received),
    }
}

fn answer(batch: &mut Batch, zones: &Zones) -> StatsSnapshot {
    let zone = zones.load();
    let mut counted = StatsSnapshot::default();
    batch.answer(|datagram, out| {
        counted.queries += 1;
        counted.cut_short += u64::from(datagram.cut_short);
        let response = respond(&zone, datagram, out);
        match response {
            Some(response) => counted.count_answer(response.rcode, response.plain),
            None => counted.dropped += 1,
        }
        response.map(|response| response.length)
    });
    counted
}

/// Sends all answers, waiting for room when the kernel has none, and says how many it refused.
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
mod tests;
