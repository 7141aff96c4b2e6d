//! Arbitrary answers of the kernel about the connections of a VM. Entries that cannot be parsed are skipped, and a
//! connection whose peer has sent recently is not ended.
#![no_main]

use std::time::Duration;

use boshy_netfilter::dead_in;
use libfuzzer_sys::fuzz_target;

/// Length of `struct nlmsghdr`; anything shorter is not a message.
const HEADER: usize = 16;
/// Longer than the kernel's milliseconds can express.
const NEVER: Duration = Duration::from_secs(1 << 32);

fuzz_target!(|datagram: &[u8]| {
    let dead = dead_in(datagram, Duration::ZERO);
    assert!(dead <= datagram.len() / HEADER, "{dead} in {} octets", datagram.len());
    assert!(dead_in(datagram, Duration::from_secs(50)) <= dead);
    assert_eq!(dead_in(datagram, NEVER), 0);
});
