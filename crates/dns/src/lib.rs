//! The mesh's own DNS zone: pure answers, the batched UDP path and the hickory fallback.
