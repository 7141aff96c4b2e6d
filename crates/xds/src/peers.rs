//! When a peer that says nothing any more is taken for gone.

use std::time::Duration;

/// How often a silent peer is asked before it is taken for gone.
const PROBES: u32 = 3;
/// Of the whole time, in fifths: silence before the first question, and between two questions.
const IDLE: u32 = 2;
const INTERVAL: u32 = 1;

/// `SOL_SOCKET`, `SO_KEEPALIVE`.
pub(crate) const KEEPALIVE_ON: SocketOption = (1, 9, 1);
/// `IPPROTO_TCP`, `TCP_KEEPIDLE`, `TCP_KEEPINTVL`, `TCP_KEEPCNT`.
const TCP: i64 = 6;
const TCP_KEEPIDLE: i64 = 4;
const TCP_KEEPINTVL: i64 = 5;
const TCP_KEEPCNT: i64 = 6;

/// What tells Envoy's connections to instances from those of other programs: `IP_FREEBIND` on, `IP_MULTICAST_ALL` and `IP_MULTICAST_LOOP` off.
/// On a TCP socket that connects they mean nothing, they need no privilege, and the kernel shows them to the agent, which ends the marked
/// connections whose peer has vanished (`boshy_netfilter::DeadPeers`).
const MARK: [SocketOption; 3] = [(IP, 15, 1), (IP, 49, 0), (IP, 34, 0)];
const IP: i64 = 0;

/// When the connection to a peer that has vanished ends. Without it a peer that went without a word, with its machine or its network,
/// is never noticed on a connection that is idle, and after a quarter of an hour on one that is not.
///
/// Keepalive is for connections without octets on their way. There is no option for the others: TCP_USER_TIMEOUT also ends a
/// connection whose peer acknowledges and takes nothing, because its program does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerTimeout {
    /// Seconds, at least five.
    seconds: u32,
}

/// A socket option of Linux: level, name, value.
pub(crate) type SocketOption = (i64, i64, i64);

impl PeerTimeout {
    /// What connections have unless somebody decides otherwise.
    pub const DEFAULT: Self = Self { seconds: 50 };

    /// A time of at least five seconds, because the kernel counts in whole ones.
    pub fn new(time: Duration) -> Option<Self> {
        let seconds = u32::try_from(time.as_secs()).ok()?;
        (5..=86_400).contains(&seconds).then_some(Self { seconds })
    }

    /// The options of a socket.
    pub(crate) fn keepalive(self) -> [SocketOption; 4] {
        let fifths = |count: u32| i64::from(self.seconds * count / 5);
        [
            KEEPALIVE_ON,
            (TCP, TCP_KEEPIDLE, fifths(IDLE)),
            (TCP, TCP_KEEPINTVL, fifths(INTERVAL)),
            (TCP, TCP_KEEPCNT, i64::from(PROBES)),
        ]
    }

    /// The options of a socket towards an instance.
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
