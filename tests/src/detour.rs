//! Connections that come from a chosen address.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
};

use socket2::{Domain, Socket, Type};

/// A way to a server on which every connection has the same source address. It forwards octets and looks at none. It
/// lasts until the process ends.
#[derive(Clone, Copy, Debug)]
pub struct Detour(SocketAddr);

impl Detour {
    /// A way from an address of this machine to a server.
    ///
    /// # Panics
    /// When nothing can listen on loopback.
    pub fn new(from: Ipv4Addr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let entrance = listener.local_addr().unwrap();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if let Ok(server) = connect(from.into(), to) {
                    join(client, server);
                }
            }
        });
        Self(entrance)
    }

    /// Where it begins.
    pub fn entrance(self) -> SocketAddr {
        self.0
    }
}

/// Connects from an address.
fn connect(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}

fn join(one: TcpStream, other: TcpStream) {
    let (Ok(from_one), Ok(from_other)) = (one.try_clone(), other.try_clone()) else { return };
    for (mut from, mut to) in [(from_one, other), (from_other, one)] {
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}
