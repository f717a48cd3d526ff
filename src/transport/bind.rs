//! Listening sockets: bound here, or inherited from a service manager.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpListener;

/// How many connections may wait to be accepted.
const ACCEPT_QUEUE: i32 = 4096;

/// Binds a listening socket. Where `host` is a name the first of its addresses that can be had is taken; on `::` both
/// IPv6 and IPv4 are served.
pub fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match bind_to(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_to(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_QUEUE)?;
    TcpListener::from_std(socket.into())
}

/// The listening socket that a service manager has handed over, if one has: `LISTEN_FDS`, as systemd passes sockets
/// (`sd_listen_fds(3)`). Takes the variables out of the environment, so it is called before there are threads.
pub fn inherited() -> io::Result<Option<std::net::TcpListener>> {
    let mut sockets = listenfd::ListenFd::from_env();
    if sockets.len() == 0 {
        return Ok(None);
    }
    let wrong = |problem| io::Error::new(io::ErrorKind::InvalidInput, problem);
    if sockets.len() > 1 {
        return Err(wrong("there are several, and one is served"));
    }
    let listener = sockets.take_tcp_listener(0)?.ok_or_else(|| wrong("it is gone"))?;
    if !SockRef::from(&listener).is_listener()? {
        return Err(wrong("it does not listen: a systemd socket is to have Accept=no"));
    }
    Ok(Some(listener))
}
