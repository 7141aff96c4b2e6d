//! The `boshy` binary.
fn main() {}
