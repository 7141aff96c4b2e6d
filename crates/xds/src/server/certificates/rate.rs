//! How many requests an address may make.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Requests that an address may make at once.
const BURST: u32 = 10;
/// Time until an address may make one more. An agent needs two a day; one whose pilot is away asks again with pauses.
const REFILL: Duration = Duration::from_secs(6);
/// Addresses that are remembered. Beyond that, those that may make a whole burst are forgotten.
const REMEMBERED: usize = 16_384;

/// A bucket of tokens for each address.
#[derive(Debug, Default)]
pub(super) struct RateLimit(Mutex<HashMap<IpAddr, Instant>>);

impl RateLimit {
    /// Whether an address may make a request now. The value kept for an address is when its bucket will be full.
    pub(super) fn admits(&self, from: IpAddr, now: Instant) -> bool {
        // The table is usable after a panic: an entry is written whole.
        let mut full_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= REMEMBERED && !full_at.contains_key(&from) {
            full_at.retain(|_, full| *full > now);
            if full_at.len() >= REMEMBERED {
                return false;
            }
        }
        let full = full_at.entry(from).or_insert(now);
        let next = (*full).max(now) + REFILL;
        let admits = next <= now + REFILL * BURST;
        if admits {
            *full = next;
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn an_address_makes_a_burst_and_then_one_request_for_each_refill() {
        let (limit, start) = (RateLimit::default(), Instant::now());
        let admitted = |at: Instant| (0..100).filter(|_| limit.admits(address(1), at)).count();
        assert_eq!(admitted(start), BURST as usize);
        assert_eq!(admitted(start + REFILL), 1);
        assert_eq!(admitted(start + REFILL * 4), 3);
        assert_eq!(admitted(start + REFILL * 1000), BURST as usize);
    }

    #[test]
    fn one_address_costs_another_nothing() {
        let (limit, start) = (RateLimit::default(), Instant::now());
        while limit.admits(address(1), start) {}
        assert!(limit.admits(address(2), start));
    }

    #[test]
    fn addresses_that_rest_are_forgotten_for_new_ones() {
        let (limit, start) = (RateLimit::default(), Instant::now());
        let of = |number: u32| IpAddr::from(number.to_be_bytes());
        assert!((0..REMEMBERED as u32).all(|number| limit.admits(of(number), start)));
        assert!(!limit.admits(of(REMEMBERED as u32), start));
        assert!(limit.admits(of(7), start), "a remembered one is not refused");
        assert!(limit.admits(of(REMEMBERED as u32), start + REFILL * 2));
    }
}
