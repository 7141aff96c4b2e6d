//! Supervised actors in process. A panic that is not contained would end this test program.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]
#![expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]

mod driver;
mod falls;
mod journal;
mod policy;
mod probe;
mod queue;
mod shutdown;
mod tasks;
mod threads;
mod vitals;
