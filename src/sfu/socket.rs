//! The media server's UDP socket.
//!
//! A packet to hundreds of receivers becomes as many datagrams to as many addresses.
//! [`MediaSocket::send`] gives them to the kernel in one system call; segmentation offload (GSO)
//! would only join those to one address.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tracing::debug;

use super::output::Datagram;

/// Requested size of the socket's buffers, in bytes. The kernel may grant less.
const BUFFER: usize = 4 * 1024 * 1024;

/// Maximum number of datagrams sent in one system call.
const BATCH: usize = 64;

/// The outcome of sending datagrams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) datagrams: u64,
    pub(super) bytes: u64,
    /// Datagrams that the kernel did not accept.
    pub(super) errors: u64,
}

/// A nonblocking UDP socket.
#[derive(Debug)]
pub(super) struct MediaSocket {
    socket: UdpSocket,
    is_v6: bool,
}

impl MediaSocket {
    /// Prepares a bound socket.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let buffers = socket2::SockRef::from(&socket);
        // Best effort: smaller buffers only lose datagrams sooner.
        _ = buffers.set_recv_buffer_size(BUFFER);
        _ = buffers.set_send_buffer_size(BUFFER);
        let is_v6 = socket.local_addr()?.is_ipv6();
        Ok(Self { socket, is_v6 })
    }

    /// Registers the socket with the current runtime, to wait for datagrams. A socket of the runtime
    /// would also wake it each time that the kernel has sent a datagram.
    #[expect(deprecated, reason = "the successor is unsafe, for types that may change descriptors")]
    pub(super) fn readiness(&self) -> io::Result<Readiness> {
        AsyncFd::with_interest(self.socket.try_clone()?, Interest::READABLE).map(Readiness)
    }

    /// Receives a datagram. Returns its length and its source, an IPv4 address if it was mapped to
    /// IPv6.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (length, from) = self.socket.recv_from(buffer)?;
        let from =
            if self.is_v6 { SocketAddr::new(from.ip().to_canonical(), from.port()) } else { from };
        Ok((length, from))
    }

    /// Sends datagrams in order. One that does not fit is lost like one on the network; the client
    /// requests it again.
    pub(super) fn send(&self, datagrams: &[Datagram]) -> Sent {
        let mut sent = Sent::default();
        for batch in datagrams.chunks(BATCH) {
            self.send_batch(batch, &mut sent);
        }
        sent
    }

    #[cfg(target_os = "linux")]
    fn send_batch(&self, datagrams: &[Datagram], sent: &mut Sent) {
        use std::io::IoSlice;

        use rustix::io::Errno;
        use rustix::net::addr::SocketAddrArg;
        use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};

        let addresses: Vec<SocketAddrAny> =
            datagrams.iter().map(|datagram| self.address(datagram.to).as_any()).collect();
        let contents: Vec<[IoSlice<'_>; 1]> =
            datagrams.iter().map(|datagram| [IoSlice::new(&datagram.contents)]).collect();
        let mut ancillary: Vec<SendAncillaryBuffer<'_, '_, '_>> =
            datagrams.iter().map(|_| SendAncillaryBuffer::default()).collect();
        let messages = addresses.iter().zip(&contents).zip(&mut ancillary);
        let mut messages: Vec<MMsgHdr<'_>> = messages
            .map(|((address, contents), ancillary)| {
                MMsgHdr::new_with_addr(address, contents, ancillary)
            })
            .collect();
        let mut rest = &mut messages[..];
        while !rest.is_empty() {
            let taken = match sendmmsg(&self.socket, rest, SendFlags::empty()) {
                Ok(taken) => {
                    sent.datagrams += taken as u64;
                    sent.bytes += rest[..taken]
                        .iter()
                        .map(|message| message.bytes_sent() as u64)
                        .sum::<u64>();
                    taken
                }
                Err(Errno::INTR) => 0,
                // Reported for the first message only.
                Err(error) => {
                    sent.fail(&error.into());
                    1
                }
            };
            rest = &mut rest[taken..];
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn send_batch(&self, datagrams: &[Datagram], sent: &mut Sent) {
        for datagram in datagrams {
            match self.socket.send_to(&datagram.contents, self.address(datagram.to)) {
                Ok(length) => {
                    sent.datagrams += 1;
                    sent.bytes += length as u64;
                }
                Err(error) => sent.fail(&error),
            }
        }
    }

    /// Maps an IPv4 address to IPv6 if the socket is an IPv6 one.
    fn address(&self, to: SocketAddr) -> SocketAddr {
        match to.ip() {
            IpAddr::V4(ip) if self.is_v6 => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
            _ => to,
        }
    }
}

/// Waits for datagrams of a [`MediaSocket`].
pub(super) struct Readiness(AsyncFd<UdpSocket>);

impl Readiness {
    /// Waits until a datagram may have arrived.
    pub(super) async fn readable(&self) {
        _ = self.0.readable().await;
    }

    /// Notes that the socket has no more datagrams.
    pub(super) fn clear(&self) {
        let would_block = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        _ = self.0.try_io(Interest::READABLE, |_| would_block());
    }
}

impl Sent {
    fn fail(&mut self, error: &io::Error) {
        self.errors += 1;
        if error.kind() != io::ErrorKind::WouldBlock {
            debug!(%error, "cannot send datagram");
        }
    }
}

/// Returns the addresses to announce when none is configured: the socket's own, or, if it is bound
/// to the unspecified address, those of the default routes.
pub fn detect_addresses(bound: SocketAddr) -> Vec<SocketAddr> {
    if !bound.ip().is_unspecified() {
        return vec![bound];
    }
    // Connecting a UDP socket sends nothing, it only looks up the route. The addresses are those of
    // RFC 5737 and RFC 3849.
    let source_address = |counted: &str, other: &str| {
        let socket = UdpSocket::bind(counted).ok()?;
        socket.connect(other).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
    };
    let v6 = if bound.is_ipv6() { source_address("[::]:0", "[2001:db8::1]:9") } else { None };
    let v4 = source_address("0.0.0.0:0", "192.0.2.1:9")
        .or(v6.is_none().then_some(IpAddr::from([127, 0, 0, 1])));
    [v4, v6].into_iter().flatten().map(|ip| SocketAddr::new(ip, bound.port())).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Waits for `count` datagrams, and returns their lengths and sources.
    fn receive_all(socket: &MediaSocket, count: usize) -> Vec<(usize, SocketAddr)> {
        socket.socket.set_nonblocking(false).unwrap();
        socket.socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut buffer = [0; 2048];
        (0..count).map(|_| socket.receive(&mut buffer).unwrap()).collect()
    }

    #[test]
    fn datagrams_reach_their_addresses_in_order() {
        let bind = |address| MediaSocket::new(UdpSocket::bind(address).unwrap()).unwrap();
        for server in ["127.0.0.1:0", "[::]:0"] {
            let (server, first, second) = (bind(server), bind("127.0.0.1:0"), bind("127.0.0.1:0"));
            let to = [&first, &second].map(|client| client.socket.local_addr().unwrap());
            let count = 2 * BATCH + 2;
            let datagrams: Vec<Datagram> = (0..count)
                .map(|number| Datagram { to: to[number % 2], contents: vec![7; number + 1].into() })
                .collect();
            let sent = server.send(&datagrams);
            let bytes = (1..=count as u64).sum();
            assert_eq!(sent, Sent { datagrams: count as u64, bytes, errors: 0 });
            let port = server.socket.local_addr().unwrap().port();
            for (client, offset) in [(&first, 1), (&second, 2)] {
                for (index, received) in receive_all(client, count / 2).into_iter().enumerate() {
                    assert_eq!(
                        received,
                        (2 * index + offset, SocketAddr::from(([127, 0, 0, 1], port)))
                    );
                }
            }
        }
    }

    #[test]
    fn datagram_that_cannot_be_sent_does_not_stop_the_others() {
        let bind = || MediaSocket::new(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let (server, client) = (bind(), bind());
        let to = client.socket.local_addr().unwrap();
        // Longer than any UDP datagram.
        let lengths = [1, 70_000, 3];
        let datagrams = lengths.map(|length| Datagram { to, contents: vec![0; length].into() });
        assert_eq!(server.send(&datagrams), Sent { datagrams: 2, bytes: 4, errors: 1 });
        assert_eq!(
            receive_all(&client, 2).iter().map(|(length, _)| *length).collect::<Vec<_>>(),
            [1, 3]
        );
    }
}
