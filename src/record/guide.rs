//! Guidance in the terminal: what to do next, and what has been seen so far.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};

use super::infer::{Description, description};
use super::trace::{Trace, What};

/// The events of a call that were recorded, one field for each line of the guidance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    tabs: usize,
    joins: usize,
    offers: usize,
    answers: usize,
    candidates: usize,
    others: usize,
    leaves: usize,
}

impl Seen {
    /// Counts what a trace shows.
    pub(super) fn of(trace: &Trace) -> Self {
        let mut seen = Self::default();
        let mut joined = BTreeSet::new();
        let mut left = BTreeSet::new();
        for entry in &trace.entries {
            match &entry.what {
                What::Connected => seen.tabs += 1,
                What::Disconnected => _ = left.insert(entry.client),
                What::Sent(message) => match description(&message.args) {
                    Some(Description::Offer) => seen.offers += 1,
                    Some(Description::Answer) => seen.answers += 1,
                    Some(Description::Candidate) => seen.candidates += 1,
                    None if joined.insert(entry.client) => {}
                    None => seen.others += 1,
                },
                What::Received(_) | What::Acknowledged { .. } => {}
            }
        }
        seen.joins = joined.len();
        seen.leaves = left.intersection(&joined).count();
        seen
    }

    /// Returns whether nothing is left to do. A description that is a text does not say whether it
    /// is an offer.
    pub(super) fn is_complete(&self) -> bool {
        self.steps().iter().all(|(is_done, _, _)| *is_done)
    }

    fn steps(&self) -> [(bool, &'static str, String); 6] {
        [
            (self.tabs >= 2, "open the page in two tabs", format!("{} connected", self.tabs)),
            (self.joins >= 2, "join the same room in both", format!("{} joined", self.joins)),
            (
                self.offers + self.answers >= 2,
                "call, if the page does not by itself",
                format!(
                    "{} offers, {} answers, {} candidates",
                    self.offers, self.answers, self.candidates
                ),
            ),
            (
                self.others > 0,
                "chat, mute, raise a hand: whatever the page can do",
                format!("{} events", self.others),
            ),
            (self.joins >= 3, "join in a third tab", format!("{} joined", self.joins)),
            (self.leaves > 0, "leave in one tab, or close it", format!("{} left", self.leaves)),
        ]
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let steps = self.steps();
        let next = steps.iter().position(|(is_done, _, _)| !is_done);
        for (index, (is_done, what, count)) in steps.iter().enumerate() {
            let mark = if *is_done {
                "✔"
            } else if Some(index) == next {
                "→"
            } else {
                " "
            };
            _ = writeln!(out, "  {mark} {what:<52} {count}");
        }
        out
    }
}

/// Shows what has been seen: in place on a terminal, otherwise a line for each step that is done.
#[derive(Debug, Default)]
pub(super) struct Guide {
    shown: Option<Seen>,
}

impl Guide {
    /// Shows the state if it has changed.
    pub(super) fn show(&mut self, seen: Seen) {
        if self.shown == Some(seen) {
            return;
        }
        let mut out = std::io::stdout().lock();
        let text = seen.text();
        if out.is_terminal() {
            let up = if self.shown.is_some() {
                format!("\x1b[{}A\x1b[J", text.lines().count())
            } else {
                String::new()
            };
            _ = write!(out, "{up}{text}");
        } else {
            let before = self.shown.unwrap_or_default().steps();
            for ((is_done, what, count), (was_done, _, _)) in seen.steps().iter().zip(before) {
                if *is_done && !was_done {
                    _ = writeln!(out, "  ✔ {what} ({count})");
                }
            }
        }
        _ = out.flush();
        self.shown = Some(seen);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::record::trace::{Entry, Message};

    #[test]
    fn steps_are_done_when_they_were_seen() {
        let mut trace = Trace::default();
        let mut entry = |client, what| {
            trace.entries.push(Entry { at: 0, client, what });
            Seen::of(&trace)
        };
        let sent = |event: &str, arg| {
            What::Sent(Message { event: event.into(), args: vec![arg], ..Message::default() })
        };
        for client in 0..3 {
            entry(client, What::Connected);
            entry(client, sent("join", json!("r")));
        }
        entry(0, sent("x", json!({ "type": "offer", "sdp": "v=0" })));
        let seen = entry(1, sent("x", json!({ "type": "answer", "sdp": "v=0" })));
        assert_eq!(
            (seen.tabs, seen.joins, seen.offers, seen.answers, seen.is_complete()),
            (3, 3, 1, 1, false)
        );
        assert!(seen.text().contains("→ chat"), "{}", seen.text());
        entry(1, sent("chat", json!("hi")));
        assert!(entry(1, What::Disconnected).is_complete());
    }
}
