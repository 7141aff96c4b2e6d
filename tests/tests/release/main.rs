//! Tests the release and the manifests as an operator gets them.
//!
//! Templates are rendered like a director does, and the result is read by the program it is meant for: settings by
//! boshy, the bootstrap by Envoy, scripts by bash. Needs Ruby, the BOSH CLI (`BOSHY_BOSH`), boshy (`BOSHY_BIN`) and
//! Envoy (`BOSHY_ENVOY`).

#![allow(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]

mod agent;
mod both_renderers;
mod envoy;
mod every_job;
mod httpbin;
mod job;
mod manifests;
mod pilot;
mod ports;
mod secrets;
mod shapes;
mod yaml;
