//! Determines how long an agent keeps serving after it is told to stop.
//!
//! The other processes of a VM are told at about the same time, and may need the mesh once more before they end: they
//! write back data, or leave a cluster. So names and rules stay while any of them has a connection to a virtual IP, and
//! a moment longer for a process that is about to connect.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use boshy_mesh::VipRange;
use tokio::{fs, time::sleep};
use tracing::{info, warn};

/// Interval of the checks.
const PERIOD: Duration = Duration::from_millis(200);
/// Time without connections after which the agent stops.
const QUIET: Duration = Duration::from_secs(1);
/// The kernel's tables of TCP sockets of this network namespace.
const TABLES: [&str; 2] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];

/// Waits until no program of this VM has a connection to a virtual IP, but at most `patience`.
pub(crate) async fn drained(range: VipRange, patience: Duration) {
    let (began, mut last) = (Instant::now(), Instant::now());
    while began.elapsed() < patience {
        if last.elapsed() >= QUIET {
            return;
        }
        if connected(range).await {
            last = Instant::now();
        }
        sleep(PERIOD).await;
    }
    info!(?patience, "stopping although programs are connected to virtual IPs, because the time is up");
}

async fn connected(range: VipRange) -> bool {
    for table in TABLES {
        match fs::read_to_string(table).await {
            Ok(sockets) if sockets.lines().any(|socket| leads_into(socket, range)) => return true,
            Ok(_) => {}
            Err(error) => warn!(table, %error, "cannot see who is connected to virtual IPs"),
        }
    }
    false
}

/// Whether a line of the table is a connection to an address of the range over which this side may still send.
fn leads_into(socket: &str, range: VipRange) -> bool {
    // Fields: number, local address, remote address, state, ...
    let mut fields = socket.split_ascii_whitespace().skip(2);
    let (Some(other), Some(state)) = (fields.next(), fields.next()) else { return false };
    // All states of the kernel's tcp_states.h except TIME_WAIT, CLOSE, LISTEN, and FIN_WAIT2, in which this side has
    // sent everything.
    let speaks = matches!(state, "01" | "02" | "04" | "08" | "09" | "0B");
    speaks && address(other).is_some_and(|address| range.contains(address))
}

/// The IPv4 address of `ADDRESS:PORT`: four bytes as a hexadecimal number in the machine's byte order, or an
/// IPv4-mapped IPv6 address.
fn address(written: &str) -> Option<Ipv4Addr> {
    let digits = written.split(':').next()?;
    let digits = digits.strip_prefix("0000000000000000FFFF0000").unwrap_or(digits);
    (digits.len() == 8).then_some(())?;
    Some(Ipv4Addr::from(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(other: &str, state: &str) -> bool {
        let line = format!(
            "   0: 0500F40A:A2C4 {other} {state} 00000000:00000000 00:00000000 00000000  1000        0 54321 1"
        );
        leads_into(&line, VipRange::default())
    }

    #[test]
    fn a_connection_to_the_range_counts_by_either_family_while_it_may_speak() {
        for other in ["02FFFEA9:232A", "0000000000000000FFFF000002FFFEA9:0016"] {
            assert!(leads(other, "01") && leads(other, "02") && leads(other, "08"), "{other}");
            assert!(!leads(other, "06") && !leads(other, "07") && !leads(other, "05"), "{other}");
        }
    }

    #[test]
    fn connections_elsewhere_listeners_and_headings_do_not() {
        assert!(!leads("0500F40A:232A", "01") && !leads("00000000:0000", "0A"));
        assert!(!leads("00000000000000000000000000000000:0000", "0A"));
        assert!(!leads_into(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt",
            VipRange::default()
        ));
        assert!(!leads_into("", VipRange::default()));
    }

    #[tokio::test]
    async fn with_nobody_connected_it_takes_a_moment_and_never_longer_than_it_may() {
        let began = Instant::now();
        drained(VipRange::default(), Duration::from_secs(60)).await;
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        let began = Instant::now();
        drained(VipRange::default(), Duration::ZERO).await;
        assert!(began.elapsed() < QUIET, "{:?}", began.elapsed());
    }
}
