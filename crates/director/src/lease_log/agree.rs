//! Runs a proposal against the log until it is decided.

use std::time::Duration;

use boshy_agreement::{Decided, Proposal, Step};
use boshy_mesh::LeaseTable;

use super::{LeaseLog, LogError};

/// Number of steps of one attempt. Without competitors three rows are enough. An attempt that ends early loses nothing.
const STEPS: u32 = 60;
/// Longest pause when writers compete.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

impl LeaseLog {
    /// Has a table decided: the proposed one, or another pilot's. `None` when no decision was reached; the next attempt
    /// continues.
    ///
    /// # Errors
    /// When the log cannot be read or written. Rows that are already there stay, and are taken up by whoever comes next.
    pub async fn agree(&self, mut proposal: Proposal<LeaseTable>) -> Result<Option<Decided<LeaseTable>>, LogError> {
        for _ in 0..STEPS {
            let (row, pause) = match proposal.advance(&self.read().await?.rows) {
                Step::Decided(decided) => return Ok(Some(decided)),
                Step::Append(row) => (row, Duration::ZERO),
                Step::AppendLater(row) => (row, LONGEST_PAUSE.mul_f64(rand::random())),
            };
            tokio::time::sleep(pause).await;
            self.append(&row).await?;
        }
        Ok(None)
    }
}
