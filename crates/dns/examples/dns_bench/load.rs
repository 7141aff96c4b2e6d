//! A closed loop of questions: each socket keeps a window of unanswered questions.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{ControlMessage, MsgFlags, MultiHeaders, recvmmsg, sendmmsg},
};

use crate::names::{NAMES, address_of, question};

const SOCKETS: usize = 8;
/// Unanswered questions that one socket may have.
const WINDOW: usize = 32;
/// A question without an answer after this time counts as lost, and its slot is used again.
const PATIENCE: Duration = Duration::from_secs(1);
/// The last bucket of the histogram holds everything slower.
const SLOWEST_US: usize = 200_000;

/// Result of a load.
pub(crate) struct Measured {
    pub(crate) answers: u64,
    pub(crate) lost: u64,
    pub(crate) wrong: u64,
    pub(crate) elapsed: Duration,
    /// Number of answers by latency in microseconds.
    latencies: Vec<u64>,
}

impl Measured {
    /// Latency in microseconds within which this part of the answers arrived.
    pub(crate) fn percentile(&self, part: f64) -> usize {
        let wanted = (self.answers as f64 * part).ceil() as u64;
        let mut seen = 0;
        self.latencies
            .iter()
            .take_while(|&&answers| {
                seen += answers;
                seen < wanted
            })
            .count()
    }
}

/// Asks questions for the given time.
pub(crate) fn run(server: SocketAddr, length: Duration) -> io::Result<Measured> {
    let mut askers = (0..SOCKETS).map(|number| Asker::new(server, number)).collect::<io::Result<Vec<_>>>()?;
    let mut measured =
        Measured { answers: 0, lost: 0, wrong: 0, elapsed: Duration::ZERO, latencies: vec![0; SLOWEST_US + 1] };
    let began = Instant::now();
    while began.elapsed() < length {
        let mut idle = true;
        for asker in &mut askers {
            asker.ask()?;
            idle &= !asker.hear(&mut measured)?;
        }
        if idle {
            wait(&askers)?;
            askers.iter_mut().for_each(|asker| measured.lost += asker.give_up());
        }
    }
    measured.elapsed = began.elapsed();
    Ok(measured)
}

fn wait(askers: &[Asker]) -> io::Result<()> {
    let mut sockets: Vec<_> = askers.iter().map(|asker| PollFd::new(asker.socket.as_fd(), PollFlags::POLLIN)).collect();
    poll(&mut sockets, PollTimeout::from(20u8))?;
    Ok(())
}

struct Asker {
    socket: UdpSocket,
    headers: MultiHeaders<()>,
    /// The question of each id, ready to send.
    questions: [Vec<u8>; WINDOW],
    /// The number of the name that each id asks for.
    names: [usize; WINDOW],
    asked: [Option<Instant>; WINDOW],
    free: Vec<usize>,
    next: usize,
}

impl Asker {
    fn new(server: SocketAddr, number: usize) -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(server)?;
        Ok(Self {
            socket,
            headers: MultiHeaders::preallocate(WINDOW, None),
            questions: std::array::from_fn(|id| question(id as u16, 0)),
            names: [0; WINDOW],
            asked: [None; WINDOW],
            free: (0..WINDOW).collect(),
            next: number * NAMES / SOCKETS,
        })
    }

    /// Fills the window.
    fn ask(&mut self) -> io::Result<()> {
        if self.free.is_empty() {
            return Ok(());
        }
        for &id in &self.free {
            // A stride without a common factor visits all names in an order that defeats caches.
            self.next = (self.next + 617) % NAMES;
            self.names[id] = self.next;
            write_number(&mut self.questions[id], self.next);
        }
        let parts: Vec<_> = self.free.iter().map(|&id| [IoSlice::new(&self.questions[id])]).collect();
        let connected = [None; WINDOW];
        let no_control: [ControlMessage<'_>; 0] = [];
        let sent =
            sendmmsg(self.socket.as_raw_fd(), &mut self.headers, &parts, connected, no_control, MsgFlags::MSG_DONTWAIT);
        let sent = match sent {
            Ok(sent) => sent.count(),
            Err(Errno::EAGAIN) => 0,
            Err(error) => return Err(error.into()),
        };
        let now = Instant::now();
        self.free.drain(..sent).for_each(|id| self.asked[id] = Some(now));
        Ok(())
    }

    /// Takes the answers that have arrived. Returns whether there were any.
    fn hear(&mut self, measured: &mut Measured) -> io::Result<bool> {
        let mut buffers = [[0; 512]; WINDOW];
        let mut parts: Vec<_> = buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let received =
            recvmmsg(self.socket.as_raw_fd(), &mut self.headers, parts.iter_mut(), MsgFlags::MSG_DONTWAIT, None);
        let received = match received {
            Ok(received) => received,
            Err(Errno::EAGAIN) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let now = Instant::now();
        for reply in received.filter_map(|message| message.iovs().next()) {
            let id = usize::from(u16::from_be_bytes([reply[0], reply[1]])) % WINDOW;
            let Some(asked) = self.asked[id].take() else { continue };
            self.free.push(id);
            measured.answers += 1;
            measured.latencies[(now.duration_since(asked).as_micros() as usize).min(SLOWEST_US)] += 1;
            let right = reply[3] & 0x0f == 0 && reply.ends_with(&address_of(self.names[id]).octets());
            measured.wrong += u64::from(!right);
        }
        Ok(true)
    }

    /// Frees the slots of lost questions.
    fn give_up(&mut self) -> u64 {
        let lost = |asked: &Option<Instant>| asked.is_some_and(|asked| asked.elapsed() > PATIENCE);
        let before = self.free.len();
        for id in 0..WINDOW {
            if lost(&self.asked[id]) {
                self.asked[id] = None;
                self.free.push(id);
            }
        }
        (self.free.len() - before) as u64
    }
}

const HEADER: usize = 12;

/// Replaces the number in the first label, which is its last four octets. Building the packet anew would cost the load
/// more than sending it.
fn write_number(packet: &mut [u8], mut number: usize) {
    let end = HEADER + 1 + usize::from(packet[HEADER]);
    for digit in packet[end - 4..end].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}
