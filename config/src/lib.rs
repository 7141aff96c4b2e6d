//! Settings of the pilot and the agent: raw as written, checked as meant.
