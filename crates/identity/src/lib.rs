//! Identities of workloads as X.509 certificates.
//!
//! ```text
//!   VM                                              pilot
//!   PrivateKey --csr_for--> PEM request ----------> Csr (its key alone)
//!        |                                            | + WorkloadNames, which come from the director's facts
//!        |                                          CertificateAuthority::issue
//!   Leaf <-- Chain <------- PEM certificates <------- Chain
//!     |
//!     +--> renew_at, alarm_at
//! ```
//!
//! A leaf follows SPIFFE's X.509-SVID: one URI SAN, no CA. The URI names the instance group and the DNS name names the
//! instance. Both come from whoever calls [`CertificateAuthority::issue`]; nothing but the key is taken from a request.
//!
//! All functions are pure but for the random numbers in keys, signatures and serial numbers. The time is an argument.
//! A private key appears in no `Debug` text and in no error.

mod attestation;
mod authority;
mod bundle;
mod chain;
mod csr;
mod error;
mod key;
mod leaf;
mod path;
mod signer;
mod voucher;
mod x509;

pub use attestation::{Claim, KnownKey, NotAttested, Register, attest_vouched};
pub use authority::{AuthorityFiles, CertificateAuthority, WorkloadNames};
pub use bundle::{BundleError, NotTrusted, TrustBundle};
pub use chain::{Chain, ChainError};
pub use csr::{Csr, CsrError, csr_for};
pub use error::{AuthorityError, IssueError};
pub use key::{KeyError, KeyHash, NotAHash, PrivateKey};
pub use leaf::{BACK_DATED, Leaf, LeafError};
pub use voucher::{BoshAgents, NotAnAgent, NotVouched, Voucher, VoucherError};
pub use x509::WeakKey;

#[cfg(test)]
mod tests;
