//! Binds listening sockets, or takes over one from a service manager such as systemd.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpListener;

/// Maximum number of connections in the kernel's accept queue.
const ACCEPT_QUEUE: i32 = 4096;

/// Binds a listening socket.
///
/// If `host` is a name, uses the first of its addresses that can be bound. On `::` the socket
/// accepts both IPv6 and IPv4.
pub fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "host name has no address");
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

/// Returns the listening socket passed by a service manager in `LISTEN_FDS` (`sd_listen_fds(3)`),
/// if there is one.
///
/// Removes the variables from the environment, so call it before starting threads.
pub fn inherited() -> io::Result<Option<std::net::TcpListener>> {
    let mut sockets = listenfd::ListenFd::from_env();
    if sockets.len() == 0 {
        return Ok(None);
    }
    let invalid = |problem| io::Error::new(io::ErrorKind::InvalidInput, problem);
    if sockets.len() > 1 {
        return Err(invalid("more than one socket was passed"));
    }
    let listener =
        sockets.take_tcp_listener(0)?.ok_or_else(|| invalid("the socket was already taken"))?;
    if !SockRef::from(&listener).is_listener()? {
        return Err(invalid(
            "the socket does not listen: set Accept=no in the systemd socket unit",
        ));
    }
    Ok(Some(listener))
}
