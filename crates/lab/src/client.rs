//! The commands' end of the control socket.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
};

use nix::sys::socket::{getsockopt, sockopt};

use crate::{
    error::{Doing, LabError},
    protocol::{Answer, Progress, Request},
    state_dir::StateDir,
    vm::line,
};

/// A connection to a running keeper, good for one request.
pub(crate) struct Client {
    stream: UnixStream,
}

impl Client {
    /// Connects, or answers `None` when no lab runs in this directory.
    pub(crate) fn find(state: &StateDir) -> Result<Option<Self>, LabError> {
        match UnixStream::connect(state.socket()) {
            Ok(stream) => Ok(Some(Self { stream })),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Ok(None)
            }
            Err(error) => Err(error).doing(|| format!("connecting to {}", state.socket().display())),
        }
    }

    /// Connects.
    pub(crate) fn connect(state: &StateDir) -> Result<Self, LabError> {
        Self::find(state)?.ok_or_else(|| {
            LabError::Refused(format!("no lab is running in {}; start one with `boshy lab up`", state.path().display()))
        })
    }

    /// The keeper's process id, as this process sees it: the kernel translates, so it is never out of date.
    pub(crate) fn keeper_pid(&self) -> Result<i32, LabError> {
        let peer =
            getsockopt(&self.stream, sockopt::PeerCredentials).doing(|| "asking who the keeper is".to_owned())?;
        Ok(peer.pid())
    }

    /// Asks, shows what comes on the way, and gives the last answer.
    pub(crate) fn ask(mut self, request: &Request, mut show: impl FnMut(Progress)) -> Result<Answer, LabError> {
        let doing = || "talking to the lab's keeper".to_owned();
        self.stream.write_all(&line(request).doing(doing)?).doing(doing)?;
        for answer in BufReader::new(&self.stream).lines() {
            match serde_json::from_str(&answer.doing(doing)?).doing(doing)? {
                Answer::Progress(progress) => show(progress),
                Answer::Failed(reason) => return Err(LabError::Refused(reason)),
                last => return Ok(last),
            }
        }
        Err(LabError::Refused(
            "the lab's keeper went away before it answered; its log is keeper.log in the state directory".to_owned(),
        ))
    }

    /// Ties the lab's life to this connection.
    pub(crate) fn hold(mut self) -> Result<Held, LabError> {
        let doing = || "talking to the lab's keeper".to_owned();
        self.stream.write_all(&line(&Request::Hold).doing(doing)?).doing(doing)?;
        Ok(Held(self.stream))
    }

    /// Asks where no progress is of interest.
    pub(crate) fn ask_quietly(self, request: &Request) -> Result<Answer, LabError> {
        self.ask(request, |_| {})
    }
}

/// A connection that the lab lives as long as.
pub(crate) struct Held(UnixStream);

impl Held {
    /// Returns when the keeper has ended.
    pub(crate) fn until_keeper_ends(mut self) {
        // Nothing is ever said here, so both an end and an error are the keeper's end.
        let _ = self.0.read(&mut [0]);
    }
}
