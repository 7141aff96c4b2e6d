//! The commands' side of the control socket.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
};

use nix::sys::socket::{getsockopt, sockopt};

use crate::{
    error::{Doing, LabError},
    protocol::{Answer, Progress, Request},
    state_dir::StateDir,
    vm::protocol::line,
};

/// A connection to a running keeper, good for one request.
pub(crate) struct Client {
    stream: UnixStream,
}

impl Client {
    /// Connects. `None` when no lab runs in this directory.
    pub(crate) fn find(state: &StateDir) -> Result<Option<Self>, LabError> {
        match UnixStream::connect(state.socket()) {
            Ok(stream) => Ok(Some(Self { stream })),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Ok(None)
            }
            Err(error) => Err(error).doing(|| format!("connecting to {}", state.socket().display())),
        }
    }

    /// Connects, or fails when no lab runs in this directory.
    pub(crate) fn connect(state: &StateDir) -> Result<Self, LabError> {
        Self::find(state)?.ok_or_else(|| {
            LabError::Refused(format!("no lab is running in {}; start one with `boshy lab up`", state.path().display()))
        })
    }

    /// The keeper's process id in this process's PID namespace. The kernel translates it, so it is never out of date.
    pub(crate) fn keeper_pid(&self) -> Result<i32, LabError> {
        let peer =
            getsockopt(&self.stream, sockopt::PeerCredentials).doing(|| "asking who the keeper is".to_owned())?;
        Ok(peer.pid())
    }

    /// Sends a request, shows its progress, and returns the final answer.
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

    /// Sends a request and ignores its progress.
    pub(crate) fn ask_quietly(self, request: &Request) -> Result<Answer, LabError> {
        self.ask(request, |_| {})
    }
}

/// A connection whose end takes the lab down.
pub(crate) struct Held(UnixStream);

impl Held {
    /// Returns when the keeper has ended.
    pub(crate) fn until_keeper_ends(mut self) {
        // The keeper sends nothing here, so an end of file and an error both mean that it has ended.
        let _ = self.0.read(&mut [0]);
    }
}
