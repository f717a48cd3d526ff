//! The media server on a thread of its own, with its UDP socket: so forwarding never delays signaling.
//!
//! - [`Media::request`] takes a request to the thread and waits until it was answered there. What is told to one
//!   connection keeps its order, since all of it comes from that thread: answers, then what follows from them;
//! - [`Media::left`] says that a peer has left its room. It neither waits nor fails;
//! - the thread carries out one request, and reads datagrams, in turns: whatever is asked of it, media goes on;
//! - [`Agenda`] says which request is next: those that create transports wait where there are too many.
//!
//! The guarantee that is easy to break: who has left a room has no media in it. Departures are heeded before each request,
//! and none is carried out whose peer is not there any more.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::io::Interest;
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{debug, error, warn};

use super::agenda::{Agenda, Answering, Command};
use super::breath::Breath;
use super::figures::Figures;
use super::flow::Outputs;
use super::notes::Notes;
use super::request::{Answer, Asker, Concern, Notice, Problem, Request, SfuError};
use super::switch::{NoCertificate, Settings, Sfu};
use crate::id::{ConnectionId, RoomId};

/// How many requests wait for the thread; each connection has one under way at the most.
const QUEUE: usize = 256;

/// How many datagrams are taken in one turn, and how often it is polled.
const TURN: usize = 64;

/// After how long datagrams get their turn while peers leave: a connection may have many transports.
const PATIENCE: Duration = Duration::from_millis(2);

/// What the kernel is asked to hold of datagrams that were not read or sent yet, in bytes: it may give less.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// Larger than any datagram that is read.
const DATAGRAM: usize = 2048;

/// Who is in a room, and how they are told something.
pub trait Company: Send + Sync {
    /// Whether a peer is in its room.
    fn is_member(&self, asker: &Asker) -> bool;

    /// Tells what happened. Must not wait.
    fn tell(&self, notice: Notice);
}

/// Writes and queues the answer to a request. Must not wait.
pub type Reply = Box<dyn FnOnce(Result<Answer, SfuError>) + Send>;

/// What the thread and those who speak to it share.
#[derive(Default)]
struct Shared {
    /// Peers that may have something here: no more than there are peers.
    users: Mutex<HashSet<(RoomId, ConnectionId)>>,
    departures: Mutex<Vec<(RoomId, ConnectionId)>>,
    wake: Notify,
    stop: Notify,
    figures: Mutex<Figures>,
}

/// The media server, as the rest of the program sees it. Cloning is cheap, and all clones are the same.
#[derive(Clone)]
pub struct Media {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
}

/// Why there is no media server.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// No thread, or the socket cannot be used.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No certificate.
    #[error(transparent)]
    Certificate(#[from] NoCertificate),
}

/// A media server that runs until it is stopped.
pub struct Running {
    thread: JoinHandle<()>,
    shared: Arc<Shared>,
}

impl Media {
    /// Starts a media server on a socket.
    pub fn start(
        socket: UdpSocket,
        settings: Settings,
        company: Arc<dyn Company>,
    ) -> Result<(Self, Running), DriveError> {
        let sfu = Sfu::new(settings.clone())?;
        socket.set_nonblocking(true)?;
        let buffers = socket2::SockRef::from(&socket);
        // As much as the kernel likes: less is only lost sooner.
        _ = buffers.set_recv_buffer_size(SOCKET_BUFFER);
        _ = buffers.set_send_buffer_size(SOCKET_BUFFER);
        let is_v6 = socket.local_addr()?.is_ipv6();
        let (commands, requests) = mpsc::channel(QUEUE);
        let agenda = Agenda::new(requests, settings.transports_per_second, Instant::now());
        let shared = Arc::new(Shared::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let readiness = {
            let _entered = runtime.enter();
            tokio::net::UdpSocket::from_std(socket.try_clone()?)?
        };
        let (own, outputs) = (Figures::default(), Outputs::default());
        let driver = Driver {
            sfu,
            settings,
            socket,
            readiness,
            is_v6,
            agenda,
            company,
            shared: Arc::clone(&shared),
            own,
            outputs,
            under_way: None,
            breath: Breath::new(Instant::now()),
            notes: Notes::default(),
        };
        let thread =
            std::thread::Builder::new().name("media".to_owned()).spawn(move || runtime.block_on(driver.run()))?;
        Ok((Self { commands, shared: Arc::clone(&shared) }, Running { thread, shared }))
    }

    /// Has a request carried out. Ready when it was answered.
    pub async fn request(&self, asker: Asker, request: Request, reply: Reply) {
        self.shared.users.lock().insert((asker.room.clone(), asker.connection));
        let (pending, answered) = oneshot::channel();
        let command = Command { asker, request, answer: Answering { reply, pending } };
        match self.commands.send(command).await {
            // It ends as an error, when it is dropped.
            Ok(()) => _ = answered.await,
            Err(mpsc::error::SendError(command)) => {
                (command.answer.reply)(Err(Problem::Stopping.of(Concern::Transport)));
            }
        }
    }

    /// A peer has left a room.
    pub fn left(&self, room: &RoomId, connection: ConnectionId) {
        let key = (room.clone(), connection);
        if self.shared.users.lock().remove(&key) {
            self.shared.departures.lock().push(key);
            self.shared.wake.notify_one();
        }
    }

    /// What there is, and what was counted, as of a moment ago.
    pub fn figures(&self) -> Figures {
        *self.shared.figures.lock()
    }
}

impl Running {
    /// Stops it, and waits until it has stopped. To be called where waiting is allowed.
    pub fn stop(self) {
        self.shared.stop.notify_one();
        if self.thread.join().is_err() {
            warn!("the media thread ended by a defect");
        }
    }
}

struct Driver {
    sfu: Sfu,
    settings: Settings,
    /// Read and written without waiting, and without regard to what the runtime knows of it: that looks only while it waits.
    socket: UdpSocket,
    /// The same, to wait for.
    readiness: tokio::net::UdpSocket,
    is_v6: bool,
    agenda: Agenda,
    company: Arc<dyn Company>,
    shared: Arc<Shared>,
    /// What was sent, and what was not; and defects outside of any transport.
    own: Figures,
    outputs: Outputs,
    /// How the request that is carried out is to be answered, even if that is a defect.
    under_way: Option<Answering>,
    breath: Breath,
    notes: Notes,
}

impl Driver {
    async fn run(mut self) {
        let mut buffer = vec![0; DATAGRAM];
        let mut next = None;
        let shared = Arc::clone(&self.shared);
        loop {
            let until: Instant = next.unwrap_or_else(|| Instant::now() + Duration::from_hours(1));
            tokio::select! {
                biased;
                () = shared.stop.notified() => return,
                () = shared.wake.notified() => {}
                is_open = self.agenda.received() => if !is_open {
                    return;
                },
                _ = self.readiness.readable() => {}
                () = tokio::time::sleep_until(until.into()) => {}
            }
            let turn = catch_unwind(AssertUnwindSafe(|| self.turn(&mut buffer)));
            next = turn.unwrap_or_else(|_| self.start_afresh());
        }
    }

    /// After a defect outside of any one transport nothing here is to be relied on. Clients are told that their transports
    /// are dead, and may make new ones.
    fn start_afresh(&mut self) -> Option<Instant> {
        error!("a defect in the media server: all media ends");
        self.own.defects += 1;
        match Sfu::new(self.settings.clone()) {
            Ok(mut sfu) => {
                let notices = self.sfu.last_words();
                // What is counted never goes back.
                sfu.continue_from(self.sfu.figures());
                self.sfu = sfu;
                for notice in notices {
                    // The defect may be there.
                    _ = catch_unwind(AssertUnwindSafe(|| self.company.tell(notice)));
                }
            }
            Err(problem) => error!(%problem, "no new media server"),
        }
        let failed = Err(Problem::Internal.of(Concern::Transport));
        _ = catch_unwind(AssertUnwindSafe(|| self.answer(failed)));
        self.publish(Instant::now());
        None
    }

    /// Does what there is to do, and says when there is more at the latest.
    fn turn(&mut self, buffer: &mut [u8]) -> Option<Instant> {
        self.heed_departures(buffer);
        if let Some(command) = self.agenda.next(Instant::now()) {
            self.carry_out(command);
        }
        self.receive(buffer);
        let next = self.tell();
        next.into_iter().chain(self.agenda.due(Instant::now())).min()
    }

    fn carry_out(&mut self, Command { asker, request, answer }: Command) {
        self.under_way = Some(answer);
        let key = (asker.room.clone(), asker.connection);
        // It may have waited, and its peer may have left and come back meanwhile.
        self.shared.users.lock().insert(key.clone());
        let outcome = if self.company.is_member(&asker) {
            self.sfu.handle(Instant::now(), &asker, request)
        } else {
            self.shared.users.lock().remove(&key);
            Err(Problem::NotInRoom.of(Concern::Transport))
        };
        self.answer(outcome);
    }

    /// Takes datagrams, as many as have their turn.
    fn receive(&mut self, buffer: &mut [u8]) {
        for _ in 0..TURN {
            match self.socket.recv_from(buffer) {
                Ok((length, from)) => {
                    let from = SocketAddr::new(from.ip().to_canonical(), from.port());
                    self.sfu.receive(self.breath.take(), from, &buffer[..length]);
                }
                Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => {
                    // Has the runtime wait for the next.
                    _ = self.readiness.try_io(Interest::READABLE, || Err::<(), _>(problem));
                    return;
                }
                // Such as one that tells of a datagram that was sent.
                Err(_) => {}
            }
        }
    }

    fn answer(&mut self, outcome: Result<Answer, SfuError>) {
        if let Some(Answering { reply, pending: _pending }) = self.under_way.take() {
            reply(outcome);
        }
    }

    fn heed_departures(&mut self, buffer: &mut [u8]) {
        let departures = std::mem::take(&mut *self.shared.departures.lock());
        let mut since = Instant::now();
        for (room, connection) in departures {
            self.sfu.leave(&room, connection);
            if since.elapsed() > PATIENCE {
                self.receive(buffer);
                self.tell();
                since = Instant::now();
            }
        }
    }

    /// Sends what is to be sent, and tells what is to be told.
    fn tell(&mut self) -> Option<Instant> {
        let began = Instant::now();
        for _ in 0..TURN {
            self.sfu.poll(self.breath.take(), &mut self.outputs);
            self.send();
            if self.outputs.next.is_none_or(|next| next > began) {
                break;
            }
        }
        self.publish(began);
        self.outputs.next
    }

    fn send(&mut self) {
        for datagram in &self.outputs.datagrams {
            let to = self.reachable(datagram.to);
            // What does not fit is lost, as on the way; it is asked for again.
            match self.socket.send_to(&datagram.contents, to) {
                Ok(length) => {
                    self.own.sent += 1;
                    self.own.sent_bytes += length as u64;
                }
                Err(problem) => {
                    self.own.unsent += 1;
                    if problem.kind() != io::ErrorKind::WouldBlock {
                        debug!(%problem, "a datagram was not sent");
                    }
                }
            }
        }
        for notice in self.outputs.notices.drain(..) {
            self.company.tell(notice);
        }
    }

    fn publish(&mut self, now: Instant) {
        let (Figures { sent, sent_bytes, unsent, .. }, figures) = (self.own, self.sfu.figures());
        let defects = self.own.defects + figures.defects;
        let figures = Figures { sent, sent_bytes, unsent, defects, ..figures };
        self.notes.look(now, &figures, |limit, times| warn!(limit, times, "media limit hit"));
        *self.shared.figures.lock() = figures;
    }

    /// An address as the socket names it.
    fn reachable(&self, to: SocketAddr) -> SocketAddr {
        match to.ip() {
            IpAddr::V4(ip) if self.is_v6 => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
            _ => to,
        }
    }
}

/// The addresses that clients are told where none are set: the socket's own, or where it listens on all of them the one
/// that this machine speaks to others with.
pub fn found_out(bound: SocketAddr) -> Vec<SocketAddr> {
    if !bound.ip().is_unspecified() {
        return vec![bound];
    }
    // Nothing is sent: connecting a UDP socket only asks the kernel for the way. Addresses of RFC 5737 and RFC 3849.
    let towards = |own: &str, other: &str| {
        let socket = UdpSocket::bind(own).ok()?;
        socket.connect(other).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
    };
    let v6 = if bound.is_ipv6() { towards("[::]:0", "[2001:db8::1]:9") } else { None };
    let v4 = towards("0.0.0.0:0", "192.0.2.1:9").or(v6.is_none().then_some(IpAddr::from([127, 0, 0, 1])));
    [v4, v6].into_iter().flatten().map(|ip| SocketAddr::new(ip, bound.port())).collect()
}
