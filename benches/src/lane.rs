//! Signals in one direction between two clients: their frame, and those in flight.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::Context;

use crate::clients::{Clients, Id};
use crate::dialect::{Dialect, MARK, body, excerpt};
use crate::frame;
use crate::joining::Member;
use crate::work::relay::Payload;

/// Numbered signals from one client to another.
pub(crate) struct Lane {
    from: Id,
    frame: Vec<u8>,
    /// Offset of the number's digits in the frame.
    digits: usize,
    sent: u64,
    received: u64,
    /// Offset of the mark in received signals, the same in all.
    mark_at: usize,
    /// When each signal in flight was sent, or scheduled.
    in_flight: VecDeque<Instant>,
}

impl Lane {
    pub(crate) fn new(dialect: &dyn Dialect, payload: Payload, from: &Member, to: &Member) -> Self {
        let target = (!to.name.is_empty()).then_some(to.name.as_str());
        let text =
            dialect.signal(payload.kind, &from.room, target, &body(payload.kind, payload.bytes));
        let mut frame = Vec::new();
        frame::write_text(text.as_bytes(), &mut frame);
        let digits = memchr::memmem::find(&frame, MARK.as_bytes()).expect("a body has a mark") + 1;
        Self {
            from: from.id,
            frame,
            digits,
            sent: 0,
            received: 0,
            mark_at: 0,
            in_flight: VecDeque::new(),
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Sends the next signal. `at` is its scheduled time.
    pub(crate) fn send(&mut self, clients: &mut Clients, at: Instant) {
        self.sent += 1;
        write_digits(self.sent, &mut self.frame[self.digits..self.digits + MARK.len() - 1]);
        clients.send(self.from, &self.frame);
        self.in_flight.push_back(at);
    }

    /// Writes another number into the frame, such as that of a room.
    pub(crate) fn write(&mut self, at: usize, number: u64, digits: usize) {
        write_digits(number, &mut self.frame[at..at + digits]);
    }

    /// Returns the offset of a text in the frame.
    pub(crate) fn find(&self, what: &str) -> Option<usize> {
        memchr::memmem::find(&self.frame, what.as_bytes())
    }

    /// Checks that a received signal is the next, and returns its scheduled time.
    pub(crate) fn check(&mut self, text: &[u8]) -> anyhow::Result<Instant> {
        self.received += 1;
        let mut mark = [b'#'; MARK.len()];
        write_digits(self.received, &mut mark[1..]);
        if text.get(self.mark_at..self.mark_at + mark.len()) != Some(&mark) {
            let found = memchr::memmem::find(text, &mark);
            self.mark_at = found.with_context(|| {
                format!("number {} is next, not {}", self.received, excerpt(text))
            })?;
        }
        self.in_flight.pop_front().context("nothing was sent")
    }
}

fn write_digits(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).expect("a digit");
        number /= 10;
    }
}
