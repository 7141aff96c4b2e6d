//! What is done to several pilots of one mesh, and measured: one of them is killed, and comes back.

use std::time::Duration;

use tokio::time::sleep_until;

use crate::{
    awaited::{Awaited, Item},
    course::Course,
    figures::Figures,
};

/// After the end of a pilot, and after its start.
const MINUTE: Duration = Duration::from_secs(60);

impl Course<'_> {
    pub(crate) async fn with_several(&mut self) -> anyhow::Result<()> {
        // A stream that is opened from now on resumes what its agent holds.
        self.fleet.let_in_again();
        (self.say)("a pilot is killed");
        let killed = self.pilots[0].xds;
        let fleet = self.fleet.clone();
        self.fleet.expects(Awaited::new([Item::Response]), |agent| fleet.pilot_of(agent) == Some(killed));
        self.pilots[0].kill();
        let begun = self.reading()?;
        let figures = self.measured("a pilot is killed", &begun).await?;
        self.keep_with_spread(figures)?;
        sleep_until((begun.at + MINUTE).into()).await;
        let figures = self.since("a minute after its end", &begun).await?;
        self.keep_with_spread(figures)?;

        (self.say)("the pilot is back");
        self.fleet.expects(Awaited::new([Item::Response]), |agent| fleet.prefers(agent) == Some(killed));
        let begun = self.reading()?;
        let services = self.site.services();
        self.pilots[0].start(services).await?;
        let figures = self.measured("it is back", &begun).await?;
        self.keep_with_spread(figures)?;
        sleep_until((begun.at + MINUTE).into()).await;
        let figures = self.since("a minute after its start", &begun).await?;
        self.keep_with_spread(figures)
    }

    fn keep_with_spread(&mut self, figures: Figures) -> anyhow::Result<()> {
        let of_each = self.fleet.agents_of_each();
        let running = self.pilots.iter().filter(|pilot| pilot.is_running()).map(|pilot| of_each[&pilot.xds]);
        let (fewest, most) = (running.clone().min(), running.max());
        self.keep(figures.spread(fewest.unwrap_or_default(), most.unwrap_or_default()))
    }
}
