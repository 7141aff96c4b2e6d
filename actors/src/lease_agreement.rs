//! Agrees with the other pilots on the table of leases, through the director's configs.
//!
//! In each round it reads the log if it has changed, follows a later table, puts back a table that somebody has deleted,
//! and proposes what `vip_pool` wants. A table is on disk before it is told. While the director is away, nothing is
//! agreed: names without an address wait, everything else goes on.
//!
//! A process that has just begun proposes nothing for two rounds. By then every other pilot has put back what an operator
//! may have deleted, so the proposal follows the latest table.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use boshy_agreement::{Decided, Ledger, News, Proposal};
use boshy_director::lease_log::{LeaseLog, LogError, LogReading};
use boshy_mesh::LeaseTable;
use boshy_state::{ReadError, StateFileError};
use boshy_supervision::Heart;
use boshy_web::status::{Lack, LackChange};
use err_report::Report;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use crate::{
    agreed_leases_file::{self, AgreedFileError},
    clock::Clock,
    shared_leases::SharedLeases,
};

/// Rounds before the first proposal.
const SETTLING: u32 = 2;

/// Configuration and channels of the task; they outlive it.
#[derive(Clone)]
pub(crate) struct LeaseAgreementParts {
    /// The log in the director's configs.
    pub(crate) log: LeaseLog,
    /// Name of this pilot in its rows.
    pub(crate) writer: String,
    /// The file with the latest agreed table.
    pub(crate) file: PathBuf,
    /// Pause between two rounds in which nothing is wanted.
    pub(crate) pause: Duration,
    /// What is agreed and what is wanted.
    pub(crate) shared: SharedLeases,
    /// The clock.
    pub(crate) clock: Clock,
    /// Why nothing can be agreed on. This task is the only writer.
    pub(crate) unagreed: Arc<ArcSwap<Option<Lack>>>,
}

/// Why a round did not end well.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("agree on leases in the director's configs")]
    Log(#[from] LogError),
    #[error("keep the agreed leases")]
    File(#[from] StateFileError),
    #[error("read the agreed leases")]
    Kept(#[from] ReadError<AgreedFileError>),
    #[error("two tables were decided as version {slot}: rows of the log were deleted while pilots agreed on it")]
    Forked { slot: u64 },
}

/// What the task knows.
#[derive(Default)]
struct Memory {
    /// `None` before the file was read.
    ledger: Option<Ledger<LeaseTable>>,
    /// The newest version of the config when the log was last found to say what the ledger does. `None` when the log has
    /// to be read: nothing was compared yet, or a row was written since, which may be deleted before the next round.
    compared: Option<String>,
    /// Rounds in which the log was looked at.
    rounds: u32,
}

/// Agrees until the channels are closed.
pub(crate) async fn agree(parts: LeaseAgreementParts, heart: Heart) {
    let mut wanted = parts.shared.wanted.subscribe();
    let mut memory = Memory::default();
    loop {
        let wish = wanted.borrow_and_update().clone();
        let begun = Instant::now();
        let ended = heart.rest(parts.round(&mut memory, wish.as_deref())).await;
        parts.report(&ended);
        // A wish that arrives is served at once, but a director that refuses is not asked in a loop.
        let is_served = ended.is_ok() && memory.rounds > SETTLING;
        let pause = parts.pause.saturating_sub(begun.elapsed());
        let gone = heart.rest(async {
            tokio::select! {
                changed = wanted.changed(), if is_served => changed.is_err(),
                () = sleep(pause) => false,
            }
        });
        if gone.await {
            return;
        }
    }
}

impl LeaseAgreementParts {
    async fn round(&self, memory: &mut Memory, wish: Option<&Decided<LeaseTable>>) -> Result<(), RoundError> {
        let ledger = match &mut memory.ledger {
            Some(ledger) => ledger,
            unread => unread.insert(self.restore().await?),
        };
        let compared = memory.compared.take();
        let is_same = compared.is_some() && self.log.newest().await? == compared;
        memory.compared = if is_same { compared } else { self.follow(ledger).await? };
        memory.rounds = memory.rounds.saturating_add(1);
        if let Some(wish) = wish.filter(|wish| wish.slot == ledger.next_slot() && memory.rounds > SETTLING) {
            memory.compared = None;
            let proposal = Proposal::new(wish.slot, self.writer.clone(), wish.value.clone());
            if let Some(decided) = self.log.agree(proposal).await? {
                self.take(ledger, decided).await?;
            }
        }
        Ok(())
    }

    async fn restore(&self) -> Result<Ledger<LeaseTable>, RoundError> {
        let kept = agreed_leases_file::read(&self.file).await?;
        self.shared.agreed.send_replace(kept.clone().map(Arc::new));
        Ok(Ledger::new(kept))
    }

    /// Returns the newest version of a log that says what the ledger does.
    async fn follow(&self, ledger: &mut Ledger<LeaseTable>) -> Result<Option<String>, RoundError> {
        let LogReading { rows, newest } = self.log.read().await?;
        match ledger.compare(&rows, &self.writer) {
            News::Same => Ok(newest),
            News::Later(decided) => {
                self.take(ledger, decided).await?;
                Ok(newest)
            }
            News::Lost(row) => {
                error!(
                    version = row.slot,
                    "the table of leases was deleted from the director's configs; it is put back"
                );
                self.log.append(&row).await?;
                Ok(None)
            }
            News::Forked(Decided { slot, .. }) => Err(RoundError::Forked { slot }),
        }
    }

    async fn take(&self, ledger: &mut Ledger<LeaseTable>, decided: Decided<LeaseTable>) -> Result<(), RoundError> {
        agreed_leases_file::write(&self.file, &decided).await?;
        info!(version = decided.slot, leases = decided.value.iter().len(), "the pilots have agreed on leases");
        ledger.record(decided.clone());
        self.shared.agreed.send_replace(Some(Arc::new(decided)));
        Ok(())
    }

    fn report(&self, ended: &Result<(), RoundError>) {
        let before = self.unagreed.load();
        let lack = ended.as_ref().err().map(|cause| {
            let (since, reason) = (self.clock.look().wall.0, Report::new(cause).to_string());
            Lack { what: "shared_leases", since, reason, remedy: self.remedy(cause) }.lasting(&**before)
        });
        match Lack::change((**before).as_ref(), lack.as_ref()) {
            Some(LackChange::Lacks(lack)) => warn!(reason = lack.reason, "no agreement on leases"),
            Some(LackChange::Ended) => info!("the pilots agree on leases again"),
            None => {}
        }
        self.unagreed.store(Arc::new(lack));
    }

    fn remedy(&self, cause: &RoundError) -> String {
        match cause {
            RoundError::Log(_) => {
                "Let the pilot's director client read and write configs (scope bosh.admin); until then \
                                   no service gets a virtual IP that has none."
                    .into()
            }
            RoundError::File(_) | RoundError::Kept(_) => format!(
                "Make {} readable and writable for the pilot; until then no service gets a virtual IP that has none.",
                self.file.display()
            ),
            RoundError::Forked { slot } => format!(
                "Stop the pilots that have the wrong table, remove {} there, and delete their rows of version {slot} with \
                 `bosh delete-config`.",
                self.file.display()
            ),
        }
    }
}
