//! Runs the media server on a thread of its own with a UDP socket, so that forwarding never delays
//! signaling.
//!
//! - [`MediaServer::request`] sends a request to the thread and waits for the response. The thread
//!   writes all responses and notices of a connection, so they keep their order;
//! - [`MediaServer::peer_left`] reports that a peer has left its room. It neither waits nor fails;
//! - the thread alternates between one request and a batch of datagrams, so requests do not stop
//!   media;
//! - [`RequestQueue`] orders requests, and delays those that create transports too fast.
//!
//! Invariant: a peer that has left a room has no media in it. Departures are processed before each
//! request, and a request is refused if its peer is no longer a member.

use std::collections::HashSet;
use std::io;
use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{error, warn};

use super::cpu_yield::CpuYield;
use super::forward::PollOutput;
use super::limit_log::LimitLog;
use super::request::{
    ErrorScope, MediaRequest, MediaResponse, Notice, RoomMember, SfuError, SfuErrorKind,
};
use super::request_queue::{QueuedRequest, RequestQueue, Responder};
use super::socket::{MediaSocket, Readiness};
use super::state::{CertificateError, RoomChange, Sfu, SfuSettings};
use super::stats::MediaStats;
use crate::id::{ConnectionId, RoomId};

/// Capacity of the channel to the thread. A connection has at most one request in flight.
const QUEUE: usize = 256;

/// Maximum number of datagrams processed, and of polls, in one turn.
const TURN: usize = 64;

/// How many dropped datagrams count as one that is processed. A flood must be read faster than it
/// arrives, or the kernel's buffer overflows and media is lost with it; the rest of a turn costs as
/// much as many dropped datagrams.
const DROPPED_PER_PROCESSED: usize = 16;

/// How long departures are processed before datagrams get a turn: a connection may have many
/// transports.
const DEPARTURES_SLICE: Duration = Duration::from_millis(2);

/// Size of the receive buffer, above the largest datagram that is accepted.
const DATAGRAM: usize = 2048;

/// The signaling side as needed by the media server: room membership, and delivery of notices.
pub trait Signaling: Send + Sync {
    /// Returns whether a peer is in its room.
    fn is_member(&self, member: &RoomMember) -> bool;

    /// Delivers a notice. Must not block.
    fn deliver(&self, notice: Notice);

    /// Notes that the last transport of a room is closed. Must not block.
    fn room_closed(&self, room: &RoomId) {
        _ = room;
    }
}

/// Encodes and queues the response to a request. Must not block.
pub type Reply = Box<dyn FnOnce(Result<MediaResponse, SfuError>) + Send>;

/// State shared by the thread and its handles.
#[derive(Default)]
struct Shared {
    /// Peers that may have transports; bounded by the number of peers.
    users: Mutex<HashSet<(RoomId, ConnectionId)>>,
    departures: Mutex<Vec<(RoomId, ConnectionId)>>,
    /// Requests of peers of other nodes; bounded by their connections, as each has one in flight.
    submitted: Mutex<Vec<QueuedRequest>>,
    /// Rooms whose transports are to fail.
    failing: Mutex<Vec<RoomId>>,
    /// Rooms with transports.
    rooms: Mutex<HashSet<RoomId>>,
    wake: Notify,
    stop: Notify,
    stats: Mutex<MediaStats>,
}

/// A handle to the media server. Cloning is cheap; all clones refer to the same server.
#[derive(Clone)]
pub struct MediaServer {
    commands: mpsc::Sender<QueuedRequest>,
    shared: Arc<Shared>,
}

/// Why the media server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum MediaStartError {
    /// The thread could not be spawned, or the socket not be used.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No certificate could be generated.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// The media server's thread, which runs until it is stopped.
pub struct MediaThread {
    thread: JoinHandle<()>,
    shared: Arc<Shared>,
}

impl MediaServer {
    /// Starts the media server on a socket.
    pub fn start(
        socket: UdpSocket,
        settings: SfuSettings,
        signaling: Arc<dyn Signaling>,
    ) -> Result<(Self, MediaThread), MediaStartError> {
        let sfu = Sfu::new(settings.clone())?;
        let socket = MediaSocket::new(socket)?;
        let (commands, requests) = mpsc::channel(QUEUE);
        let request_queue =
            RequestQueue::new(requests, settings.transports_per_second, Instant::now());
        let shared = Arc::new(Shared::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let readiness = {
            let _entered = runtime.enter();
            socket.readiness()?
        };
        let (counted, poll_output) = (MediaStats::default(), PollOutput::default());
        let driver = Driver {
            sfu,
            settings,
            socket,
            readiness,
            request_queue,
            signaling,
            shared: Arc::clone(&shared),
            counted,
            poll_output,
            current: None,
            cpu_yield: CpuYield::new(Instant::now()),
            limit_log: LimitLog::default(),
        };
        let thread = std::thread::Builder::new()
            .name("media".to_owned())
            .spawn(move || runtime.block_on(driver.run()))?;
        Ok((Self { commands, shared: Arc::clone(&shared) }, MediaThread { thread, shared }))
    }

    /// Carries out a request. Resolves when `reply` has been called.
    pub async fn request(&self, member: RoomMember, request: MediaRequest, reply: Reply) {
        self.shared.users.lock().insert((member.room.clone(), member.connection));
        let (pending, answered) = oneshot::channel();
        let command = QueuedRequest { member, request, responder: Responder { reply, pending } };
        match self.commands.send(command).await {
            // The thread drops the sender when it has replied.
            Ok(()) => _ = answered.await,
            Err(mpsc::error::SendError(command)) => {
                (command.responder.reply)(Err(
                    SfuErrorKind::ShuttingDown.in_scope(ErrorScope::Transport)
                ));
            }
        }
    }

    /// Carries out a request of a peer of another node, which calls `reply`. Does not wait.
    pub fn submit(&self, member: RoomMember, request: MediaRequest, reply: Reply) {
        self.shared.users.lock().insert((member.room.clone(), member.connection));
        let (pending, answered) = oneshot::channel();
        // The node of the peer knows whether it is still there: the request is always carried out.
        let reply: Reply = Box::new(move |outcome| {
            reply(outcome);
            drop(answered);
        });
        let responder = Responder { reply, pending };
        self.shared.submitted.lock().push(QueuedRequest { member, request, responder });
        self.shared.wake.notify_one();
    }

    /// Closes all transports of a room, as failed.
    pub fn fail_room(&self, room: &RoomId) {
        self.shared.failing.lock().push(room.clone());
        self.shared.wake.notify_one();
    }

    /// Returns whether a room has transports.
    pub fn has_room(&self, room: &RoomId) -> bool {
        self.shared.rooms.lock().contains(room)
    }

    /// Closes the transports of a peer that has left a room.
    pub fn peer_left(&self, room: &RoomId, connection: ConnectionId) {
        let key = (room.clone(), connection);
        if self.shared.users.lock().remove(&key) {
            self.shared.departures.lock().push(key);
            self.shared.wake.notify_one();
        }
    }

    /// Returns the counters and gauges as of the last turn.
    pub fn stats(&self) -> MediaStats {
        *self.shared.stats.lock()
    }
}

impl MediaThread {
    /// Stops the thread and waits for it to end. Blocks the calling thread.
    pub fn stop(self) {
        self.shared.stop.notify_one();
        if self.thread.join().is_err() {
            warn!("media thread panicked");
        }
    }
}

struct Driver {
    sfu: Sfu,
    settings: SfuSettings,
    /// Read and written without the runtime's readiness, which is updated only while the thread
    /// waits.
    socket: MediaSocket,
    readiness: Readiness,
    request_queue: RequestQueue,
    signaling: Arc<dyn Signaling>,
    shared: Arc<Shared>,
    /// Counters of sent datagrams and of panics outside of transports.
    counted: MediaStats,
    poll_output: PollOutput,
    /// The responder of the request being carried out, kept here to respond even if the request
    /// panics.
    current: Option<Responder>,
    cpu_yield: CpuYield,
    limit_log: LimitLog,
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
                is_open = self.request_queue.received() => if !is_open {
                    return;
                },
                () = self.readiness.readable() => {}
                () = tokio::time::sleep_until(until.into()) => {}
            }
            let turn = catch_unwind(AssertUnwindSafe(|| self.turn(&mut buffer)));
            next = turn.unwrap_or_else(|_| self.restart_after_panic());
        }
    }

    /// Replaces the SFU after a panic outside of transports, which may have left it inconsistent.
    /// Clients are notified that their transports have failed, and may create new ones.
    fn restart_after_panic(&mut self) -> Option<Instant> {
        error!("media server panicked, closing all transports");
        self.counted.panics += 1;
        match Sfu::new(self.settings.clone()) {
            Ok(mut sfu) => {
                let notices = self.sfu.failure_notices();
                // Counters never decrease.
                sfu.restore_counters(self.sfu.stats());
                self.sfu = sfu;
                for notice in notices {
                    // The delivery itself may have panicked.
                    _ = catch_unwind(AssertUnwindSafe(|| self.signaling.deliver(notice)));
                }
            }
            Err(error) => error!(%error, "cannot restart the media server"),
        }
        let failed = Err(SfuErrorKind::Internal.in_scope(ErrorScope::Transport));
        _ = catch_unwind(AssertUnwindSafe(|| self.respond(failed)));
        let closed = std::mem::take(&mut *self.shared.rooms.lock());
        for room in &closed {
            self.signaling.room_closed(room);
        }
        self.publish(Instant::now());
        None
    }

    /// Processes departures, one request and a batch of datagrams. Returns the time of the next
    /// turn, if one is scheduled.
    fn turn(&mut self, buffer: &mut [u8]) -> Option<Instant> {
        self.process_departures(buffer);
        let submitted = std::mem::take(&mut *self.shared.submitted.lock());
        self.request_queue.add(submitted);
        if let Some(command) = self.request_queue.next(Instant::now()) {
            self.run_request(command);
        }
        self.receive(buffer);
        let next = self.flush();
        next.into_iter().chain(self.request_queue.due(Instant::now())).min()
    }

    fn run_request(&mut self, QueuedRequest { member, request, responder }: QueuedRequest) {
        self.current = Some(responder);
        let key = (member.room.clone(), member.connection);
        // The request may have waited, and its peer may have left and rejoined meanwhile.
        self.shared.users.lock().insert(key.clone());
        let outcome = if self.signaling.is_member(&member) {
            self.sfu.handle(Instant::now(), &member, request)
        } else {
            self.shared.users.lock().remove(&key);
            Err(SfuErrorKind::NotInRoom.in_scope(ErrorScope::Transport))
        };
        self.note_rooms();
        self.respond(outcome);
    }

    /// Receives datagrams until [`TURN`] were processed.
    fn receive(&mut self, buffer: &mut [u8]) {
        let mut budget = TURN * DROPPED_PER_PROCESSED;
        while budget > 0 {
            budget -= 1;
            match self.socket.receive(buffer) {
                Ok((length, from)) => {
                    let is_processed =
                        self.sfu.receive(self.cpu_yield.yield_if_due(), from, &buffer[..length]);
                    if is_processed {
                        budget = budget.saturating_sub(DROPPED_PER_PROCESSED - 1);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.readiness.clear();
                }
                // Such as an ICMP error about a datagram that was sent.
                Err(_) => {}
            }
        }
    }

    fn respond(&mut self, outcome: Result<MediaResponse, SfuError>) {
        if let Some(Responder { reply, pending: _pending }) = self.current.take() {
            reply(outcome);
        }
    }

    fn process_departures(&mut self, buffer: &mut [u8]) {
        let departures = std::mem::take(&mut *self.shared.departures.lock());
        let mut since = Instant::now();
        for (room, connection) in departures {
            self.sfu.remove_peer(&room, connection);
            if since.elapsed() > DEPARTURES_SLICE {
                self.receive(buffer);
                self.flush();
                since = Instant::now();
            }
        }
        let failing = std::mem::take(&mut *self.shared.failing.lock());
        for room in &failing {
            self.sfu.fail_room(room);
        }
    }

    /// Tells which rooms have transports.
    fn note_rooms(&mut self) {
        for RoomChange { room, is_open } in self.sfu.room_changes.drain(..) {
            if is_open {
                self.shared.rooms.lock().insert(room);
            } else {
                self.shared.rooms.lock().remove(&room);
                self.signaling.room_closed(&room);
            }
        }
    }

    /// Sends datagrams and delivers notices until the SFU has no more that are due. Returns the
    /// time of the next poll.
    fn flush(&mut self) -> Option<Instant> {
        let began = Instant::now();
        for _ in 0..TURN {
            self.sfu.poll(self.cpu_yield.yield_if_due(), &mut self.poll_output);
            self.send();
            if self.poll_output.next.is_none_or(|next| next > began) {
                break;
            }
        }
        self.publish(began);
        self.poll_output.next
    }

    fn send(&mut self) {
        let sent = self.socket.send(&self.poll_output.datagrams);
        self.counted.sent += sent.datagrams;
        self.counted.sent_bytes += sent.bytes;
        self.counted.send_errors += sent.errors;
        for notice in self.poll_output.notices.drain(..) {
            self.signaling.deliver(notice);
        }
        self.note_rooms();
    }

    fn publish(&mut self, now: Instant) {
        let (MediaStats { sent, sent_bytes, send_errors, .. }, stats) =
            (self.counted, self.sfu.stats());
        let panics = self.counted.panics + stats.panics;
        let stats = MediaStats { sent, sent_bytes, send_errors, panics, ..stats };
        self.limit_log.update(now, &stats, |limit, times| warn!(limit, times, "media limit hit"));
        *self.shared.stats.lock() = stats;
    }
}
