//! When a peer that says nothing any more is taken for gone.

use std::time::Duration;

/// How often a silent peer is asked before it is taken for gone.
const PROBES: u32 = 3;
/// Of the whole time, in fifths: silence before the first question, and between two questions.
const IDLE: u32 = 2;
const INTERVAL: u32 = 1;

/// `SOL_SOCKET`, `SO_KEEPALIVE`.
pub(crate) const KEEPALIVE_ON: SocketOption = (1, 9, 1);
/// `IPPROTO_TCP`, `TCP_KEEPIDLE`, `TCP_KEEPINTVL`, `TCP_KEEPCNT`, `TCP_USER_TIMEOUT`.
const TCP: i64 = 6;
const TCP_KEEPIDLE: i64 = 4;
const TCP_KEEPINTVL: i64 = 5;
const TCP_KEEPCNT: i64 = 6;
const TCP_USER_TIMEOUT: i64 = 18;

/// When the connection to a peer that has vanished ends. Without it a peer that went without a word, with its machine or its network,
/// is never noticed on a connection that is idle, and after a quarter of an hour on one that is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerTimeout {
    /// Seconds, at least five.
    seconds: u32,
    /// Whether octets on their way that the peer does not acknowledge end the connection as well. A peer that acknowledges and
    /// takes nothing, because its program does not read, cannot be told from one that is gone: TCP_USER_TIMEOUT ends both.
    unacknowledged: bool,
}

/// A socket option of Linux: level, name, value.
pub(crate) type SocketOption = (i64, i64, i64);

impl PeerTimeout {
    /// What connections have unless somebody decides otherwise.
    pub const DEFAULT: Self = Self { seconds: 50, unacknowledged: true };

    /// A time of at least five seconds, because the kernel counts in whole ones.
    pub fn new(time: Duration, unacknowledged: bool) -> Option<Self> {
        let seconds = u32::try_from(time.as_secs()).ok()?;
        (5..=86_400).contains(&seconds).then_some(Self { seconds, unacknowledged })
    }

    /// The same without a word about octets on their way: for programs of this VM, who do not vanish but may read slowly.
    pub(crate) fn of_silence(self) -> Self {
        Self { unacknowledged: false, ..self }
    }

    /// The options of each socket.
    pub(crate) fn socket_options(self) -> Vec<SocketOption> {
        let fifths = |count: u32| i64::from(self.seconds * count / 5);
        let mut options = vec![
            KEEPALIVE_ON,
            (TCP, TCP_KEEPIDLE, fifths(IDLE)),
            (TCP, TCP_KEEPINTVL, fifths(INTERVAL)),
            (TCP, TCP_KEEPCNT, i64::from(PROBES)),
        ];
        if self.unacknowledged {
            options.push((TCP, TCP_USER_TIMEOUT, i64::from(self.seconds) * 1000));
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_gone_after_silence_and_three_questions_that_take_the_whole_time() {
        for seconds in [5, 10, 50, 59, 3600] {
            let timeout = PeerTimeout::new(Duration::from_secs(seconds), true).unwrap();
            let options = timeout.socket_options();
            let of = |name| options.iter().find(|option| (option.0, option.1) == (TCP, name)).unwrap().2;
            let silence = of(TCP_KEEPIDLE) + of(TCP_KEEPINTVL) * of(TCP_KEEPCNT);
            let seconds = i64::try_from(seconds).unwrap();
            assert!(silence <= seconds && silence > seconds - 5, "{seconds}: {options:?}");
            assert_eq!(of(TCP_USER_TIMEOUT), seconds * 1000);
            assert!(timeout.of_silence().socket_options().iter().all(|option| option.1 != TCP_USER_TIMEOUT));
        }
        assert_eq!(PeerTimeout::new(Duration::from_secs(4), true), None);
    }
}
