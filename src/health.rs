//! `parlor health`: queries the health of the server on this machine, for container health checks.
//! Uses TLS if the configuration has a certificate, and does not verify its name.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::config::Config;
use crate::tls;

/// Timeout for connecting, and for the response.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Why the server is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// The server cannot be reached.
    #[error("no response from {address}")]
    Unreachable {
        /// The configured host and port.
        address: String,
        /// The cause.
        source: io::Error,
    },
    /// The server reports that it is not healthy.
    #[error("unhealthy: {0}")]
    Reported(String),
}

/// Queries the health of the server with this configuration.
pub fn check(config: &Config) -> Result<(), Unhealthy> {
    let (host, port) = (config.network.host.as_str(), config.network.port);
    let unreachable = |source| Unhealthy::Unreachable { address: format!("{host}:{port}"), source };
    let addresses = (host, port).to_socket_addrs();
    let head =
        addresses.and_then(|addresses| query(addresses, config.has_tls())).map_err(unreachable)?;
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if status == "200" {
        Ok(())
    } else {
        Err(Unhealthy::Reported(head.lines().next().unwrap_or_default().to_owned()))
    }
}

/// Returns the start of the response to `GET /healthz` from the first address that responds: the
/// server listens on the first address of its host name that it can bind.
fn query(addresses: impl IntoIterator<Item = SocketAddr>, is_tls: bool) -> io::Result<String> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for address in addresses {
        match query_address(local_address(address), is_tls) {
            Ok(answer) => return Ok(answer),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn query_address(address: SocketAddr, is_tls: bool) -> io::Result<String> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    if is_tls { exchange(tls::local_client(stream)?) } else { exchange(stream) }
}

fn exchange(mut stream: impl Read + Write) -> io::Result<String> {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    stream.flush()?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    Ok(answer)
}

/// Returns the address at which a server that listens on `address` is reachable from this machine.
fn local_address(address: SocketAddr) -> SocketAddr {
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
    fn every_address_of_host_is_tried() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // Nothing listens there: the port belongs to another address.
        let closed =
            SocketAddr::new("127.0.0.2".parse().unwrap(), listener.local_addr().unwrap().port());
        let open = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 128];
            assert!(stream.read(&mut head).unwrap() > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        });
        assert!(query([closed, open], false).unwrap().starts_with("HTTP/1.1 200"));
        server.join().unwrap();
        assert_eq!(query([closed], false).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(query([], false).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
