//! Supervised actors, in process. A panic that were not contained would end this binary.

mod driver;
mod falls;
mod policy;
mod queue;
mod shutdown;
mod threads;
