//! How long a join takes, from the message to its confirmation, one at a time.

use std::time::Instant;

use anyhow::Context;
use hdrhistogram::Histogram;

use super::SLACK;
use super::relay::seats;
use crate::clients::{Clients, Due, Id, Load};
use crate::dialect::{Received, Seat};

/// Joins the two peers of each room, one after the other. Returns the time of the second of each,
/// in nanoseconds: the first is in the room.
pub(crate) fn measure(clients: &mut Clients, rooms: usize) -> anyhow::Result<Histogram<u64>> {
    let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
    let mut joins = Joins { seats: seats(rooms), next: 0, current: None, latency };
    clients.run(&mut joins, SLACK * 4).context("joining one at a time")?;
    Ok(joins.latency)
}

struct Joins {
    seats: Vec<Seat>,
    next: usize,
    /// The connection that joins, and when it asked.
    current: Option<(Id, Option<Instant>)>,
    latency: Histogram<u64>,
}

impl Load for Joins {
    fn due(&mut self, clients: &mut Clients, _: Instant) -> anyhow::Result<Due> {
        if self.current.is_some() {
            return Ok(Due::Nothing);
        }
        let Some(seat) = self.seats.get(self.next) else { return Ok(Due::Done) };
        self.current = Some((clients.open(seat.clone())?, None));
        self.next += 1;
        Ok(Due::Nothing)
    }

    fn received(
        &mut self,
        _: &mut Clients,
        id: Id,
        message: Received,
        _: &[u8],
        at: Instant,
    ) -> anyhow::Result<()> {
        let Some((current, asked)) = &mut self.current else { return Ok(()) };
        if *current != id {
            return Ok(());
        }
        match message {
            // The join leaves as soon as this is read.
            Received::Id { .. } => *asked = Some(at),
            Received::JoinedRoom | Received::Joined { .. } => {
                let since = asked.context("a client joins after it has its id")?;
                if self.next.is_multiple_of(2) {
                    let nanos = u64::try_from(at.duration_since(since).as_nanos())?;
                    self.latency.saturating_record(nanos);
                }
                self.current = None;
            }
            _ => {}
        }
        Ok(())
    }
}
