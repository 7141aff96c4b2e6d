//! A kernel that says anything about the connections of a VM. What cannot be read is passed over; what says that its peer spoke lately
//! is not ended.
#![no_main]

use std::time::Duration;

use boshy_netfilter::dead_in;
use libfuzzer_sys::fuzz_target;

/// Length of `struct nlmsghdr`, without which nothing is a message.
const HEADER: usize = 16;
/// Longer than the kernel's milliseconds can say.
const NEVER: Duration = Duration::from_secs(1 << 32);

fuzz_target!(|datagram: &[u8]| {
    let dead = dead_in(datagram, Duration::ZERO);
    assert!(dead <= datagram.len() / HEADER, "{dead} in {} octets", datagram.len());
    assert!(dead_in(datagram, Duration::from_secs(50)) <= dead);
    assert_eq!(dead_in(datagram, NEVER), 0);
});
