//! A DNS client that builds and parses its own packets, so that it shares no mistake with the server.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

/// Type A (RFC 1035 section 3.2.2).
pub const A: u16 = 1;
/// Class IN (RFC 1035 section 3.2.4).
const IN: u16 = 1;
/// Longest wait for an answer; a question that waits longer counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);

static NEXT_ID: AtomicU16 = AtomicU16::new(1);

/// Response code (RFC 1035 section 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rcode {
    /// The name exists.
    NoError,
    /// The server cannot answer now.
    ServFail,
    /// The name does not exist.
    NxDomain,
    /// Anything else.
    Other(u8),
}

/// A parsed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Response code.
    pub rcode: Rcode,
    /// Addresses in the answer section.
    pub addresses: Vec<Ipv4Addr>,
}

impl Answer {
    /// One address.
    pub fn address(address: Ipv4Addr) -> Self {
        Self { rcode: Rcode::NoError, addresses: vec![address] }
    }
}

/// Asks over UDP.
///
/// # Errors
/// When no answer arrives, or none that can be parsed.
pub fn ask_udp(server: SocketAddr, name: &str, kind: u16) -> io::Result<Answer> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let question = question(name, kind);
    socket.send(&question)?;
    let mut packet = [0; 4096];
    let length = socket.recv(&mut packet)?;
    read(&question, &packet[..length]).ok_or(io::ErrorKind::InvalidData.into())
}

/// Asks over TCP, with the length before each message (RFC 1035 section 4.2.2).
///
/// # Errors
/// When no answer arrives, or none that can be parsed.
pub fn ask_tcp(server: SocketAddr, name: &str, kind: u16) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let question = question(name, kind);
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], &question].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut packet = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut packet)?;
    read(&question, &packet).ok_or(io::ErrorKind::InvalidData.into())
}

fn question(name: &str, kind: u16) -> Vec<u8> {
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    // Recursion desired, one question, nothing else.
    let mut packet = id.to_be_bytes().to_vec();
    packet.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        packet.push(u8::try_from(label.len()).unwrap());
        packet.extend(label.bytes());
    }
    packet.push(0);
    packet.extend([kind.to_be_bytes(), IN.to_be_bytes()].concat());
    packet
}

/// Parses an answer; `None` when it does not answer the question.
fn read(question: &[u8], packet: &[u8]) -> Option<Answer> {
    let header = packet.get(..12)?;
    let is_answer = header[..2] == question[..2] && header[2] & 0x80 != 0 && header[4..6] == [0, 1];
    if !is_answer || packet.get(12..question.len())? != &question[12..] {
        return None;
    }
    let rcode = match header[3] & 0x0f {
        0 => Rcode::NoError,
        2 => Rcode::ServFail,
        3 => Rcode::NxDomain,
        other => Rcode::Other(other),
    };
    let mut rest = &packet[question.len()..];
    let mut addresses = Vec::new();
    for _ in 0..u16::from_be_bytes([header[6], header[7]]) {
        let (record, after) = record(rest)?;
        addresses.extend(record);
        rest = after;
    }
    Some(Answer { rcode, addresses })
}

/// The address in a record of type A, and what follows the record.
fn record(packet: &[u8]) -> Option<(Option<Ipv4Addr>, &[u8])> {
    let fixed = skip_name(packet)?;
    let (kind, length) = (u16::from_be_bytes([*fixed.first()?, *fixed.get(1)?]), fixed.get(8..10)?);
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    let data = fixed.get(10..10 + length)?;
    let address = (kind == A).then(|| <[u8; 4]>::try_from(data).ok().map(Ipv4Addr::from)).flatten();
    Some((address, &fixed[10 + length..]))
}

fn skip_name(packet: &[u8]) -> Option<&[u8]> {
    match *packet.first()? {
        0 => packet.get(1..),
        pointer if pointer & 0xc0 == 0xc0 => packet.get(2..),
        length => skip_name(packet.get(1 + usize::from(length)..)?),
    }
}
