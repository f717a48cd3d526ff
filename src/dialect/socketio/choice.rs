//! Which event profile a session speaks.
//!
//! - [`Profiles`] holds the candidates of this server, in order of preference, and the settings that concern events;
//! - [`Choice`] is that of one session: undecided at first, and decided once, by what its client sends or by the first
//!   signal that it is sent.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use parking_lot::Mutex;
use tracing::{debug, info};

use super::profile::{Profile, Recognized};
use super::relay_events::RelayEvents;
use crate::dialect::json::Arguments;
use crate::id::ConnectionId;

/// Maximum number of candidates: a signal notes that of its sender in 8 bits.
pub const MAX_PROFILES: usize = 100;

/// Maximum number of event names for which the log suggests a rule.
const MAX_SUGGESTIONS: usize = 256;

/// Maximum length of such a name, in bytes: the log repeats it.
const MAX_SUGGESTED_BYTES: usize = 128;

/// The event profiles of a server, and which application events it relays.
pub struct Profiles {
    candidates: Vec<Arc<Profile>>,
    /// The candidate that serves undecided sessions.
    default: usize,
    /// The candidates that an event may decide for, by its name.
    claims: HashMap<String, Vec<usize>>,
    relay: RelayEvents,
    /// The namespaces that clients may connect to; `None` is any.
    namespaces: Option<Vec<String>>,
    /// Names of relayed events that the log has suggested a rule for; `None` where it does not.
    suggested: Option<Mutex<HashSet<Box<str>>>>,
    /// Counts a choice, by the profile's name.
    count: Box<dyn Fn(&str) + Send + Sync>,
}

impl fmt::Debug for Profiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profiles")
            .field("candidates", &self.candidates)
            .field("relay", &self.relay)
            .finish_non_exhaustive()
    }
}

impl Profiles {
    /// The candidates in order of preference. `standard` serves undecided sessions unless a candidate is a default.
    pub fn new(mut candidates: Vec<Arc<Profile>>, relay: RelayEvents) -> Self {
        candidates.truncate(MAX_PROFILES);
        let default = candidates.iter().position(|candidate| candidate.is_default());
        let default = default.unwrap_or_else(|| {
            candidates.push(Profile::standard());
            candidates.len() - 1
        });
        let mut claims: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, candidate) in candidates.iter().enumerate() {
            for event in candidate.deciding_events() {
                claims.entry(event.to_owned()).or_default().push(index);
            }
        }
        let count = Box::new(|_: &str| {});
        Self { candidates, default, claims, relay, namespaces: None, suggested: None, count }
    }

    /// Restricts the namespaces that clients may connect to.
    #[must_use]
    pub fn with_namespaces(self, namespaces: Option<Vec<String>>) -> Self {
        Self { namespaces, ..self }
    }

    /// Has choices counted, by the profile's name.
    #[must_use]
    pub fn with_count(self, count: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { count: Box::new(count), ..self }
    }

    /// Has the log suggest a rule for each relayed event that no rule names.
    #[must_use]
    pub fn with_suggestions(self) -> Self {
        Self { suggested: Some(Mutex::default()), ..self }
    }

    /// Which application events are relayed.
    pub fn relay(&self) -> &RelayEvents {
        &self.relay
    }

    /// Whether clients may connect to a namespace.
    pub fn serves_namespace(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|served| served.iter().any(|served| served == namespace))
    }

    /// Notes that an event is relayed as it is, so that the log suggests once what would rename it.
    pub(super) fn suggest(&self, event: &str) {
        let Some(suggested) = &self.suggested else { return };
        if event.len() > MAX_SUGGESTED_BYTES || self.relay.names(event) {
            return;
        }
        let mut suggested = suggested.lock();
        if suggested.len() < MAX_SUGGESTIONS && suggested.insert(event.into()) {
            let rule = format!("[[in]] event = {event:?}, does = \"relay\", rename = \"…\"");
            info!(event, rule, "relaying an event that no rule names; a rule in a profile renames it");
        }
    }
}

impl Default for Profiles {
    /// All built-in profiles.
    fn default() -> Self {
        Self::new(Profile::builtin().to_vec(), RelayEvents::default())
    }
}

/// The event profile of one session.
#[derive(Debug)]
pub struct Choice {
    profiles: Arc<Profiles>,
    connection: ConnectionId,
    /// The number of the candidate, from 1; 0 while it is undecided.
    chosen: AtomicU8,
    /// Whether the client has signaled in the words of undecided sessions. Only its own events may decide from then on.
    has_signaled: AtomicBool,
}

impl Choice {
    /// An undecided session.
    pub fn new(profiles: Arc<Profiles>, connection: ConnectionId) -> Self {
        Self { profiles, connection, chosen: AtomicU8::new(0), has_signaled: AtomicBool::new(false) }
    }

    /// The connection whose choice it is.
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// The profiles to choose from.
    pub fn profiles(&self) -> &Profiles {
        &self.profiles
    }

    /// The number of the chosen candidate.
    pub(super) fn chosen(&self) -> Option<u8> {
        self.chosen.load(Ordering::Relaxed).checked_sub(1)
    }

    /// The profile in force: the chosen one, or that of undecided sessions.
    pub fn profile(&self) -> &Profile {
        &self.profiles.candidates[self.chosen().map_or(self.profiles.default, usize::from)]
    }

    /// Decides for the first candidate that has a rule for an event of the client.
    pub(super) fn claim<'a>(&self, arguments: &Arguments<'a>, text: &'a str) {
        if self.chosen().is_some() {
            return;
        }
        let Some(claims) = self.profiles.claims.get(&*arguments.name) else { return };
        let matches = |index: &&usize| {
            let recognized = self.profiles.candidates[**index].recognize(arguments, text);
            matches!(recognized, Recognized::Rule(rule, _) if rule.decides())
        };
        // An event that the profile in force knows does not decide for one after it.
        if let Some(index) = claims.iter().find(matches).filter(|index| **index != self.profiles.default) {
            self.decide(*index);
        }
    }

    /// Notes that the client has sent a signal.
    pub(super) fn note_signal(&self) {
        self.has_signaled.store(true, Ordering::Relaxed);
    }

    /// Takes the profile of a signal's sender, if this session is undecided, its client has not shown yet in which words
    /// it signals, and the sender has a profile of its own.
    pub(super) fn adopt(&self, sender: Option<u8>) {
        if let (None, Some(index)) = (self.chosen(), sender.map(usize::from))
            && !self.has_signaled.load(Ordering::Relaxed)
            && index < self.profiles.candidates.len()
            && index != self.profiles.default
        {
            self.decide(index);
        }
    }

    fn decide(&self, index: usize) {
        let number = u8::try_from(index + 1).expect("there are not so many candidates");
        if self.chosen.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let profile = self.profiles.candidates[index].name();
            debug!(connection = %self.connection, profile, "event profile chosen");
            (self.profiles.count)(profile);
        }
    }
}
