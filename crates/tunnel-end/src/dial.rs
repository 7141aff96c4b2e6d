//! Connecting to a program of this VM.

use std::{io, net::SocketAddr, time::Duration};

use http::StatusCode;
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// Time for a connection on this VM. A program whose backlog is full does not answer.
const LONGEST: Duration = Duration::from_millis(500);

/// Connects to a program at an address of this VM, from the same address. Otherwise it returns what to answer: that
/// this VM has no such address, or that the program accepts no connection.
pub(crate) async fn dial(at: SocketAddr) -> Result<TcpStream, StatusCode> {
    let socket = match socket(at) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => return Err(StatusCode::NOT_FOUND),
        socket => socket.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?,
    };
    match timeout(LONGEST, socket.connect(at)).await {
        Ok(Ok(program)) => Ok(program),
        _ => Err(StatusCode::SERVICE_UNAVAILABLE),
    }
}

/// A socket that reaches nothing but the VM's own `at`: it is bound to that address, which no other VM has.
fn socket(at: SocketAddr) -> io::Result<TcpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    // The port is chosen at connect, which knows the program's: otherwise all programs would share the ports of the VM.
    setsockopt(&socket, IpBindAddressNoPort, &true)?;
    socket.bind(&SocketAddr::new(at.ip(), 0).into())?;
    socket.set_tcp_nodelay(true)?;
    Ok(TcpSocket::from_std_stream(socket.into()))
}
