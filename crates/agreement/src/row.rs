//! What writers append to the log.

/// A row of the log. Two equal rows count as one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row<V> {
    /// The version that is being agreed on.
    pub slot: u64,
    /// The attempt at this slot, from 0; 0 for a decision, which belongs to no round.
    pub round: u32,
    /// The writer's name. It decides nothing; it tells operators who wrote the row.
    pub writer: String,
    /// What the writer says.
    pub phase: Phase,
    /// About which value.
    pub value: V,
}

/// What a writer says about a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The value should be the next version.
    Propose,
    /// All proposals that the writer has read in this round were equal to the value.
    Commit,
    /// They were not all equal. The value is the smallest of them.
    Adopt,
    /// The value is the version of this slot.
    Decide,
}
