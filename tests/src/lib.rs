//! Shared drivers of the integration tests.
