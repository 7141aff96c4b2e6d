//! When a silent peer is considered gone.

use std::time::Duration;

/// Number of unanswered keepalive probes after which a peer is considered gone.
const PROBES: u32 = 3;
/// Idle time before the first probe, and interval of probes, in fifths of the whole time.
const IDLE: u32 = 2;
const INTERVAL: u32 = 1;

/// `SOL_SOCKET`, `SO_KEEPALIVE`.
pub(crate) const KEEPALIVE_ON: SocketOption = (1, 9, 1);
/// `IPPROTO_TCP`, `TCP_KEEPIDLE`, `TCP_KEEPINTVL`, `TCP_KEEPCNT`.
const TCP: i64 = 6;
const TCP_KEEPIDLE: i64 = 4;
const TCP_KEEPINTVL: i64 = 5;
const TCP_KEEPCNT: i64 = 6;

/// Marks Envoy's connections to instances, to distinguish them from those of other programs: `IP_FREEBIND` on,
/// `IP_MULTICAST_ALL` and `IP_MULTICAST_LOOP` off. On a connecting TCP socket these options have no effect and need no
/// privilege. The kernel shows them to the agent, which ends the marked connections whose peer has vanished
/// (`boshy_netfilter::DeadPeers`).
const MARK: [SocketOption; 3] = [(IP, 15, 1), (IP, 49, 0), (IP, 34, 0)];
const IP: i64 = 0;

/// When a connection to a vanished peer ends. Without this, a peer that vanishes with its machine or its network is
/// never noticed on an idle connection, and after a quarter of an hour on a busy one.
///
/// Keepalive covers connections without unacknowledged data. There is no suitable option for the others:
/// TCP_USER_TIMEOUT also ends a connection whose peer acknowledges but accepts no data, because its program does not
/// read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerTimeout {
    /// Seconds, at least five.
    seconds: u32,
}

/// A socket option of Linux: level, name, value.
pub(crate) type SocketOption = (i64, i64, i64);

impl PeerTimeout {
    /// The default for connections.
    pub const DEFAULT: Self = Self { seconds: 50 };

    /// Takes a time of at least five seconds, because the kernel counts in whole seconds.
    pub fn new(time: Duration) -> Option<Self> {
        let seconds = u32::try_from(time.as_secs()).ok()?;
        (5..=86_400).contains(&seconds).then_some(Self { seconds })
    }

    /// The time in seconds.
    pub(crate) fn seconds(self) -> u32 {
        self.seconds
    }

    /// Socket options of a connection.
    pub(crate) fn keepalive(self) -> [SocketOption; 4] {
        let fifths = |count: u32| i64::from(self.seconds * count / 5);
        [
            KEEPALIVE_ON,
            (TCP, TCP_KEEPIDLE, fifths(IDLE)),
            (TCP, TCP_KEEPINTVL, fifths(INTERVAL)),
            (TCP, TCP_KEEPCNT, i64::from(PROBES)),
        ]
    }

    /// Socket options of a connection to an instance.
    pub(crate) fn towards_instances(self) -> impl Iterator<Item = SocketOption> {
        self.keepalive().into_iter().chain(MARK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_gone_after_silence_and_three_questions_that_take_the_whole_time() {
        for seconds in [5, 10, 50, 59, 3600] {
            let timeout = PeerTimeout::new(Duration::from_secs(seconds)).unwrap();
            let options = timeout.keepalive();
            let of = |name| options.iter().find(|option| (option.0, option.1) == (TCP, name)).unwrap().2;
            let silence = of(TCP_KEEPIDLE) + of(TCP_KEEPINTVL) * of(TCP_KEEPCNT);
            let seconds = i64::try_from(seconds).unwrap();
            assert!(silence <= seconds && silence > seconds - 5, "{seconds}: {options:?}");
        }
        assert_eq!(PeerTimeout::new(Duration::from_secs(4)), None);
    }
}
