//! Hands sockets over from a process to its child processes.
#![expect(unsafe_code, reason = "a descriptor that another process has left open is known by its number alone")]

use std::{
    env, io,
    net::{TcpListener, UdpSocket},
    os::fd::{AsRawFd, FromRawFd},
    process::Command,
};

use socket2::SockRef;

use crate::Sockets;

/// Numbers of the descriptors, UDP and TCP, as `3,4`.
const VARIABLE: &str = "BOSHY_DNS_SOCKETS";

impl Sockets {
    /// Makes a program that is about to be started inherit these sockets. Questions wait in them while it starts.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn lend(&self, command: &mut Command) -> io::Result<()> {
        let (udp, tcp) = self.parts();
        SockRef::from(udp).set_cloexec(false)?;
        SockRef::from(tcp).set_cloexec(false)?;
        command.env(VARIABLE, format!("{},{}", udp.as_raw_fd(), tcp.as_raw_fd()));
        Ok(())
    }

    /// The inherited sockets; `None` when there are none. Call it only once.
    pub fn lent() -> Option<Self> {
        let numbers = env::var(VARIABLE).ok()?;
        let (udp, tcp) = numbers.split_once(',')?;
        let (udp, tcp) = (udp.parse().ok()?, tcp.parse().ok()?);
        // SAFETY: the parent process sets the variable only when it has left these two descriptors open for this
        // process, and nothing else here uses them.
        let (udp, tcp) = unsafe { (UdpSocket::from_raw_fd(udp), TcpListener::from_raw_fd(tcp)) };
        SockRef::from(&udp).set_cloexec(true).ok()?;
        SockRef::from(&tcp).set_cloexec(true).ok()?;
        Self::handed_over(udp, tcp).ok()
    }
}
