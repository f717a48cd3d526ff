//! `parlor health`: asks a running server on this machine whether it is well, for container health checks. Where the
//! settings have a certificate it asks over TLS, without looking whose certificate the server shows.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::config::Config;
use crate::tls;

/// How long to wait for the answer.
const LIMIT: Duration = Duration::from_secs(3);

/// Why the server is not well.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// It cannot be reached.
    #[error("no server answers on {address}")]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// It answers that it is not well.
    #[error("the server answers: {0}")]
    Answered(String),
}

/// Asks the server that these settings describe.
pub fn check(config: &Config) -> Result<(), Unhealthy> {
    let (host, port) = (config.network.host.as_str(), config.network.port);
    let unreachable = |source| Unhealthy::Unreachable { address: format!("{host}:{port}"), source };
    let addresses = (host, port).to_socket_addrs();
    let head = addresses.and_then(|addresses| ask(addresses, config.has_tls())).map_err(unreachable)?;
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if status == "200" { Ok(()) } else { Err(Unhealthy::Answered(head.lines().next().unwrap_or_default().to_owned())) }
}

/// The beginning of the answer to `GET /healthz`, from the first address that answers: of the addresses of a host
/// name the server listens on the first that it can bind.
fn ask(addresses: impl IntoIterator<Item = SocketAddr>, is_tls: bool) -> io::Result<String> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match ask_at(reachable(address), is_tls) {
            Ok(answer) => return Ok(answer),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn ask_at(address: SocketAddr, is_tls: bool) -> io::Result<String> {
    let stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    if is_tls { exchange(tls::local_client(stream)?) } else { exchange(stream) }
}

fn exchange(mut stream: impl Read + Write) -> io::Result<String> {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    stream.flush()?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    Ok(answer)
}

/// Where a server that listens on an address is reached from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn every_address_of_the_host_is_tried() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // Nothing listens there: the port belongs to another address.
        let closed = SocketAddr::new("127.0.0.2".parse().unwrap(), listener.local_addr().unwrap().port());
        let open = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 128];
            assert!(stream.read(&mut head).unwrap() > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        });
        assert!(ask([closed, open], false).unwrap().starts_with("HTTP/1.1 200"));
        server.join().unwrap();
        assert_eq!(ask([closed], false).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(ask([], false).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
