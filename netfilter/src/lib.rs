//! The redirect rules of a VM: desired set, rendering, difference and apply.
