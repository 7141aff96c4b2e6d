//! Tests the whole mesh on one machine: the built binary, real Envoys, real rules, and traffic during changes and
//! failures.
//!
//! `BOSHY_BIN` names the binary, `BOSHY_ENVOY` Envoy and `BOSHY_BOSH` the BOSH CLI. The tests need what `boshy lab`
//! needs: root, or a kernel that lets this user create namespaces. Each brings up its own lab and takes it down, also
//! when it fails.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test program; its helpers are no tests to clippy")]
#![expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]

mod alike;
mod attestation;
mod authorization;
mod captured_stop;
mod changes;
mod chaos;
mod clock;
mod connections;
mod containers;
mod down;
mod driver;
mod envoy_parent;
mod failures;
mod hangs;
mod held;
mod held_tunnels;
mod hygiene;
mod ingress;
mod jumps;
mod lifecycle;
mod links;
mod load;
mod manifests;
mod mtls;
mod neighbours;
mod ordinary_user;
mod peers;
mod pilot_away;
mod ports;
mod privileges;
mod process;
mod programs;
mod refused;
mod rotation;
mod several_pilots;
mod stops;
mod traffic;
mod uaa;
mod wait;
