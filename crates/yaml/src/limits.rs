//! What one text may cost.

/// Limits on the cost of one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size of the text in bytes.
    pub bytes: usize,
    /// Nodes (lists, maps, scalars): the written ones, and again those accessed, counted as often as an alias repeats
    /// them.
    pub nodes: usize,
    /// Bytes of all scalars written, and again of those accessed.
    pub scalar_bytes: usize,
    /// Nesting. Ruby's own stack overflows between one and two thousand levels.
    pub depth: usize,
}

impl Default for Limits {
    /// Many times the largest known manifests. Reading a text at the limits takes about a second and 150 megabytes.
    fn default() -> Self {
        Self { bytes: 8 << 20, nodes: 2_000_000, scalar_bytes: 16 << 20, depth: 2_000 }
    }
}
