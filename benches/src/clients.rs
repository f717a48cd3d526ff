//! Many clients in one thread: their sockets and frames, driven by epoll.
//!
//! This loop is the benchmark's own: it sends prebuilt frames and reads without copying or
//! decoding, at the cost of a few system calls per signal. The shared test client allocates, and
//! decodes each message in a task of its own, which would dominate the measurement. Messages, frame
//! headers and handshakes are shared with it.
//!
//! - [`Clients`] owns the connections. It performs handshakes, answers heartbeats, joins clients to
//!   their rooms, and passes everything else to [`Load`].
//! - [`Load`] is a piece of work: it receives messages, sends others through
//!   [`Clients::send_text`], and is asked in each round what is due.
//! - [`Clients::run`] loops until the load is done, or its time is over.
//!
//! Messages sent while one received message is handled leave together, in one write per connection,
//! before the next is read. Events are edge-triggered: a read that fills less than the buffer has
//! drained the socket.

mod request;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::{Domain, Protocol, Socket, Type};

use self::request::request;
use crate::dialect::{Dialect, Received, Seat, excerpt};
use crate::frame::{self, Frame};

/// Identifies an open connection. Reused after the connection has closed.
pub(crate) type Id = usize;

/// A piece of work with clients.
pub(crate) trait Load {
    /// Does what is due, and returns what to wait for.
    fn due(&mut self, clients: &mut Clients, now: Instant) -> anyhow::Result<Due>;

    /// Handles a received message, except heartbeats.
    fn received(
        &mut self,
        clients: &mut Clients,
        id: Id,
        message: Received,
        text: &[u8],
        at: Instant,
    ) -> anyhow::Result<()>;

    /// Handles the end of a connection: it failed, or either side closed it.
    fn ended(&mut self, _: &mut Clients, _: Id, error: Option<io::Error>) -> anyhow::Result<()> {
        match error {
            Some(error) => Err(error).context("a connection failed"),
            None => bail!("the server ended a connection"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// The load is done.
    Done,
    /// Nothing to do before this time.
    At(Instant),
    /// Nothing to do until a message arrives.
    Nothing,
}

/// Whether an idle thread sleeps or spins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// On a core of its own, since waking up would count as latency of the server.
    Spins,
    /// On a core shared with the server.
    Sleeps,
}

pub(crate) struct Clients {
    poll: Poll,
    connections: Slab<Connection>,
    dialect: &'static dyn Dialect,
    servers: Vec<SocketAddr>,
    waiting: Waiting,
    /// Connections with data to send.
    writers: Vec<Id>,
    /// Number of connections opened.
    opened: u32,
    idle: Duration,
}

struct Connection {
    stream: TcpStream,
    seat: Seat,
    stage: Stage,
    /// A partially received frame.
    rest: Vec<u8>,
    /// Data to send.
    out: Vec<u8>,
    is_talking: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Upgrading,
    Open,
    Closing,
}

/// Size of the read buffer.
const READ: usize = 128 * 1024;

/// Number of source addresses: one does not have enough ports for all connections of a minute.
const SOURCES: u32 = 16;

/// Timeout of a poll without a deadline.
const POLL_TIMEOUT: Duration = Duration::from_millis(50);

impl Clients {
    pub(crate) fn new(
        dialect: &'static dyn Dialect,
        server: SocketAddr,
        waiting: Waiting,
    ) -> anyhow::Result<Self> {
        Self::over(dialect, vec![server], waiting)
    }

    /// Returns clients that connect to several servers in turn.
    pub(crate) fn over(
        dialect: &'static dyn Dialect,
        servers: Vec<SocketAddr>,
        waiting: Waiting,
    ) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let (connections, writers) = (Slab::new(), Vec::new());
        Ok(Self {
            poll,
            connections,
            dialect,
            servers,
            waiting,
            writers,
            opened: 0,
            idle: Duration::ZERO,
        })
    }

    pub(crate) fn dialect(&self) -> &'static dyn Dialect {
        self.dialect
    }

    /// Returns the accumulated idle time.
    pub(crate) fn idle(&self) -> Duration {
        self.idle
    }

    pub(crate) fn open(&mut self, seat: Seat) -> anyhow::Result<Id> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        let source = Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + 1 + self.opened % SOURCES);
        let server = self.servers[self.opened as usize % self.servers.len()];
        self.opened += 1;
        socket
            .bind(&SocketAddr::V4(SocketAddrV4::new(source, 0)).into())
            .context("no source address available")?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&server.into()) {
            Err(error) if error.raw_os_error() != Some(nix::errno::Errno::EINPROGRESS as i32) => {
                return Err(error).context("the server refuses the connection");
            }
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        let entry = self.connections.vacant_entry();
        let id = entry.key();
        self.poll.registry().register(
            &mut stream,
            Token(id),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        let (rest, out) = (Vec::new(), Vec::new());
        entry.insert(Connection {
            stream,
            seat,
            stage: Stage::Connecting,
            rest,
            out,
            is_talking: false,
        });
        Ok(id)
    }

    /// Sends a text.
    pub(crate) fn send_text(&mut self, id: Id, text: &str) {
        self.put(id, |out| {
            frame::write_text(text.as_bytes(), out);
        });
    }

    /// Sends a frame as it is.
    pub(crate) fn send(&mut self, id: Id, frame: &[u8]) {
        self.put(id, |out| out.extend_from_slice(frame));
    }

    /// Closes a connection like a closed page. The load is notified of its end.
    pub(crate) fn close(&mut self, id: Id) {
        if let Some(last_message) = self.dialect.last_message() {
            self.send_text(id, &last_message);
        }
        self.send(id, &frame::CLOSE_FRAME);
        self.connections[id].stage = Stage::Closing;
    }

    /// Closes all connections.
    pub(crate) fn close_all(&mut self) {
        let ids: Vec<Id> = self.connections.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.close(id);
        }
    }

    /// Returns whether no connection is open.
    pub(crate) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    fn put(&mut self, id: Id, write: impl FnOnce(&mut Vec<u8>)) {
        let connection = &mut self.connections[id];
        write(&mut connection.out);
        if !connection.is_talking {
            connection.is_talking = true;
            self.writers.push(id);
        }
    }

    /// Runs until the load is done.
    pub(crate) fn run(&mut self, load: &mut impl Load, limit: Duration) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; READ];
        let mut now = Instant::now();
        let end = now + limit;
        loop {
            let due = load.due(self, now)?;
            self.flush()?;
            let wait = match due {
                Due::Done => return Ok(()),
                _ if self.waiting == Waiting::Spins => Duration::ZERO,
                Due::At(time) => time.saturating_duration_since(now).min(POLL_TIMEOUT),
                Due::Nothing => POLL_TIMEOUT,
            };
            let asked = Instant::now();
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            now = Instant::now();
            if events.is_empty() {
                self.idle += now - asked;
            }
            for event in &events {
                self.handle(load, event, &mut buffer)?;
            }
            ensure!(now < end, "not done within {limit:?}");
        }
    }

    fn handle(
        &mut self,
        load: &mut impl Load,
        event: &Event,
        buffer: &mut [u8],
    ) -> anyhow::Result<()> {
        let Token(id) = event.token();
        // The connection may have ended in the same round.
        let Some(connection) = self.connections.get_mut(id) else { return Ok(()) };
        if connection.stage == Stage::Connecting && !self.connected(load, id)? {
            return Ok(());
        }
        if event.is_writable()
            && self.connections.get(id).is_some_and(|connection| connection.is_talking)
        {
            self.write(id)?;
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(load, id, buffer, event.is_read_closed())?;
        }
        self.flush()
    }

    /// Returns whether the connection is established, and starts the handshake.
    fn connected(&mut self, load: &mut impl Load, id: Id) -> anyhow::Result<bool> {
        let connection = &mut self.connections[id];
        if let Some(error) = connection.stream.take_error()? {
            self.end(load, id, Some(error))?;
            return Ok(false);
        }
        if connection.stream.peer_addr().is_err() {
            return Ok(false);
        }
        match self.dialect.path(&connection.seat) {
            Some(path) => {
                connection.stage = Stage::Upgrading;
                let request = request(&path, self.servers[0]);
                self.put(id, |out| out.extend_from_slice(request.as_bytes()));
            }
            None => self.opened(load, id)?,
        }
        Ok(true)
    }

    fn opened(&mut self, load: &mut impl Load, id: Id) -> anyhow::Result<()> {
        let connection = &mut self.connections[id];
        connection.stage = Stage::Open;
        if let Some(greeting) = self.dialect.first_message(&connection.seat) {
            self.send_text(id, &greeting);
        }
        if self.dialect.joins_on_connect() {
            load.received(self, id, Received::JoinedRoom, b"", Instant::now())?;
        }
        Ok(())
    }

    /// Reads all available data, and the end of the stream, which is not reported again.
    fn read(
        &mut self,
        load: &mut impl Load,
        id: Id,
        buffer: &mut [u8],
        has_ended: bool,
    ) -> anyhow::Result<()> {
        loop {
            let Some(connection) = self.connections.get_mut(id) else { return Ok(()) };
            let length = match connection.stream.read(buffer) {
                Ok(0) => return self.end(load, id, None),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    let error = (connection.stage != Stage::Closing).then_some(error);
                    return self.end(load, id, error);
                }
            };
            let at = Instant::now();
            if connection.rest.is_empty() {
                let used = self.take(load, id, &buffer[..length], at)?;
                if let Some(connection) = self.connections.get_mut(id) {
                    connection.rest.extend_from_slice(&buffer[used..length]);
                }
            } else {
                let mut bytes = std::mem::take(&mut connection.rest);
                bytes.extend_from_slice(&buffer[..length]);
                let used = self.take(load, id, &bytes, at)?;
                if let Some(connection) = self.connections.get_mut(id) {
                    bytes.drain(..used);
                    connection.rest = bytes;
                }
            }
            if length < buffer.len() && !has_ended {
                return Ok(());
            }
        }
    }

    /// Handles complete frames, and returns how many bytes they took.
    fn take(
        &mut self,
        load: &mut impl Load,
        id: Id,
        bytes: &[u8],
        at: Instant,
    ) -> anyhow::Result<usize> {
        let mut used = 0;
        if self.connections[id].stage == Stage::Upgrading {
            let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(0) };
            ensure!(
                bytes.starts_with(b"HTTP/1.1 101"),
                "the handshake is answered {}",
                excerpt(bytes)
            );
            used = end + 4;
            self.opened(load, id)?;
        }
        while let Some((frame, length)) = frame::read(&bytes[used..])? {
            used += length;
            match frame {
                Frame::Text(text) => self.handle_text(load, id, text, at)?,
                Frame::Ping(payload) => self.put(id, |out| frame::write_pong(payload, out)),
                Frame::Pong => {}
                Frame::Close => {
                    self.end(load, id, None)?;
                    return Ok(bytes.len());
                }
            }
        }
        Ok(used)
    }

    fn handle_text(
        &mut self,
        load: &mut impl Load,
        id: Id,
        text: &[u8],
        at: Instant,
    ) -> anyhow::Result<()> {
        let connection = &self.connections[id];
        if connection.stage == Stage::Closing {
            return Ok(());
        }
        match self.dialect.decode(&connection.seat, text)? {
            Received::Expects(answer) => self.send_text(id, &answer),
            Received::Other => {}
            message => {
                if let Received::Id { join, .. } = &message {
                    self.send_text(id, join);
                }
                load.received(self, id, message, text, at)?;
            }
        }
        Ok(())
    }

    fn end(
        &mut self,
        load: &mut impl Load,
        id: Id,
        error: Option<io::Error>,
    ) -> anyhow::Result<()> {
        self.connections.remove(id);
        load.ended(self, id, error)
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        while let Some(id) = self.writers.pop() {
            self.write(id)?;
        }
        Ok(())
    }

    fn write(&mut self, id: Id) -> anyhow::Result<()> {
        let Some(connection) = self.connections.get_mut(id) else { return Ok(()) };
        if connection.stage == Stage::Connecting {
            return Ok(());
        }
        let mut written = 0;
        while written < connection.out.len() {
            match connection.stream.write(&connection.out[written..]) {
                Ok(length) => written += length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // The reading side reports the failure.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                    ) =>
                {
                    written = connection.out.len();
                }
                Err(error) => return Err(error).context("a connection failed"),
            }
        }
        connection.out.drain(..written);
        connection.is_talking = !connection.out.is_empty();
        Ok(())
    }
}
