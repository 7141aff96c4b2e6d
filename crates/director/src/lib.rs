//! The BOSH director: client, wire model and the embedded director.
