//! The decisions of a supervisor: which child starts when, and what a fall means. No effects, no clock.
//!
//! A tree tolerates `max_restarts` falls within a period and gives up at the next one. A fall counts once, however many
//! siblings it ends. The tree tolerates the same number of falls of one child in a row, over any time: pauses grow, so
//! a child that falls soon after each restart is quickly too slow to fall often within a period.

use std::{collections::VecDeque, time::Duration};

use boshy_backoff::Backoff;
use tokio::time::Instant;

use crate::{
    ExitReason,
    policy::{Intensity, Restart, Strategy},
};

/// State of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// To be started when its turn comes.
    Waiting,
    /// Its life has been ordered and has not reported that it started.
    Starting,
    Running {
        since: Instant,
    },
    BackingOff {
        until: Instant,
    },
    /// Not to be started again by this tree.
    Ended,
}

impl Phase {
    fn has_life(self) -> bool {
        matches!(self, Self::Starting | Self::Running { .. })
    }
}

/// What a supervisor does about a child's exit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// The child is not restarted.
    LeaveTerminated,
    /// The child is restarted after this pause. The children in `terminate` are stopped first, in this order.
    Restart { after: Duration, terminate: Vec<usize> },
    /// The tree has reached its maximum restart intensity, and gives up.
    Shutdown,
}

/// The part of a child specification that the decisions use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) restart: Restart,
    pub(crate) backoff: Backoff,
}

struct Member {
    terms: Terms,
    phase: Phase,
    /// Falls in a row without a life in between that lasted the longest pause.
    streak: u32,
    /// Falls in a row without a life in between that lasted the longest pause and the tree's period.
    row: u32,
}

impl Member {
    /// A life ends: after a quiet one, rows start anew.
    fn look_back(&mut self, now: Instant, period: Duration) {
        let Phase::Running { since } = self.phase else { return };
        let (lasted, longest) = (now.duration_since(since), self.terms.backoff.longest);
        if lasted >= longest {
            self.streak = 0;
        }
        if lasted >= longest.max(period) {
            self.row = 0;
        }
    }

    /// Whether it has had its turn. A child that falls again and again is in the starting phase most of the time, and
    /// other children must not wait for that.
    fn has_been_tried(&self) -> bool {
        match self.phase {
            Phase::Waiting => false,
            Phase::Starting => self.streak > 0,
            Phase::BackingOff { .. } | Phase::Running { .. } | Phase::Ended => true,
        }
    }
}

/// The children of one tree in order of declaration.
pub(crate) struct Roster {
    strategy: Strategy,
    intensity: Intensity,
    members: Vec<Member>,
    falls: VecDeque<Instant>,
}

impl Roster {
    /// Terms of each child, and whether it still waits for its start or has ended for good.
    pub(crate) fn new(
        strategy: Strategy,
        intensity: Intensity,
        children: impl IntoIterator<Item = (Terms, bool)>,
    ) -> Self {
        let member = |(terms, ended)| Member {
            terms,
            phase: if ended { Phase::Ended } else { Phase::Waiting },
            streak: 0,
            row: 0,
        };
        Self { strategy, intensity, members: children.into_iter().map(member).collect(), falls: VecDeque::new() }
    }

    pub(crate) fn phase(&self, child: usize) -> Phase {
        self.members[child].phase
    }

    /// The first child that may start now. A waiting child starts after those declared before it: under rest-for-one
    /// they must be up, otherwise it suffices that they were tried.
    pub(crate) fn next_start(&self, now: Instant) -> Option<usize> {
        let mut turn = true;
        for (child, member) in self.members.iter().enumerate() {
            match member.phase {
                Phase::Waiting if turn => return Some(child),
                Phase::BackingOff { until } if until <= now => return Some(child),
                Phase::Running { .. } | Phase::Ended => {}
                _ => turn &= self.strategy == Strategy::OneForOne && member.has_been_tried(),
            }
        }
        None
    }

    /// When [`Self::next_start`] has to be called again without any event.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let due = |member: &Member| match member.phase {
            Phase::BackingOff { until } => Some(until),
            _ => None,
        };
        self.members.iter().filter_map(due).min()
    }

    /// Whether every child has had its turn.
    pub(crate) fn is_up(&self) -> bool {
        self.members.iter().all(Member::has_been_tried)
    }

    pub(crate) fn starting(&mut self, child: usize) {
        self.members[child].phase = Phase::Starting;
    }

    pub(crate) fn started(&mut self, child: usize, now: Instant) {
        self.members[child].phase = Phase::Running { since: now };
    }

    /// A life has ended without being asked to; `roll` is a random number from 0 to 1, for the jitter.
    pub(crate) fn exited(&mut self, child: usize, reason: &ExitReason, now: Instant, roll: f64) -> Reaction {
        let member = &mut self.members[child];
        let again = match member.terms.restart {
            Restart::Permanent => true,
            Restart::Transient => *reason != ExitReason::Normal,
            Restart::Temporary => false,
        };
        if !again {
            member.phase = Phase::Ended;
            return Reaction::LeaveTerminated;
        }
        member.look_back(now, self.intensity.period);
        let Terms { backoff, .. } = member.terms;
        member.row = member.row.saturating_add(1);
        let whole_row = member.row > self.intensity.max_restarts;
        let after = backoff.pause(member.streak, roll);
        member.streak = member.streak.saturating_add(1);
        member.phase = Phase::BackingOff { until: now + after };
        if self.too_many_falls(now) || whole_row {
            return Reaction::Shutdown;
        }
        let terminate = match self.strategy {
            Strategy::OneForOne => Vec::new(),
            Strategy::RestForOne => self.take_down_after(child, now),
        };
        Reaction::Restart { after, terminate }
    }

    fn too_many_falls(&mut self, now: Instant) -> bool {
        let Intensity { max_restarts, period } = self.intensity;
        self.falls.push_back(now);
        while self.falls.front().is_some_and(|fall| now.duration_since(*fall) >= period) {
            self.falls.pop_front();
        }
        self.falls.len() > max_restarts as usize
    }

    /// Makes the children after `child` wait for it. Returns those of them whose life has to be stopped, last first.
    fn take_down_after(&mut self, child: usize, now: Instant) -> Vec<usize> {
        let mut stop = Vec::new();
        for (index, member) in self.members.iter_mut().enumerate().skip(child + 1) {
            if member.phase == Phase::Ended {
                continue;
            }
            if member.phase.has_life() {
                stop.push(index);
            }
            member.look_back(now, self.intensity.period);
            let temporary = member.terms.restart == Restart::Temporary;
            member.phase = if temporary && member.phase.has_life() { Phase::Ended } else { Phase::Waiting };
        }
        stop.reverse();
        stop
    }
}

#[cfg(test)]
#[path = "roster_tests.rs"]
mod tests;
