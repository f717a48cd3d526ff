//! Chooses the event profile of each session.
//!
//! - [`Profiles`] holds the candidates of this server, in order of preference, and the settings for
//!   events;
//! - [`Choice`] is the choice of one session. It is decided once, by an event of its client or by
//!   the first signal that the client receives.

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

/// Maximum number of candidates: a signal notes the candidate of its sender in 8 bits.
pub const MAX_PROFILES: usize = 100;

/// Maximum number of event names for which the log suggests a rule.
const MAX_SUGGESTIONS: usize = 256;

/// Maximum length of such a name, in bytes, since the log repeats it.
const MAX_SUGGESTED_BYTES: usize = 128;

/// The event profiles of a server, and the application events that it relays.
pub struct Profiles {
    candidates: Vec<Arc<Profile>>,
    /// The candidate that serves undecided sessions.
    default: usize,
    /// The candidates that an event may choose, by its name.
    claims: HashMap<String, Vec<usize>>,
    relay: RelayEvents,
    /// The namespaces that clients may connect to; `None` means any.
    namespaces: Option<Vec<String>>,
    /// Names of relayed events for which the log has suggested a rule; `None` if suggestions are
    /// disabled.
    suggested: Option<Mutex<HashSet<Box<str>>>>,
    /// Counts a choice, by the name of the profile.
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
    /// Creates the profiles from candidates in order of preference. `standard` serves undecided
    /// sessions unless a candidate is a default.
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

    /// Counts choices, by the name of the profile.
    #[must_use]
    pub fn with_count(self, count: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { count: Box::new(count), ..self }
    }

    /// Makes the log suggest a rule for each relayed event that no rule names.
    #[must_use]
    pub fn with_suggestions(self) -> Self {
        Self { suggested: Some(Mutex::default()), ..self }
    }

    /// Returns the application events that are relayed.
    pub fn relay(&self) -> &RelayEvents {
        &self.relay
    }

    /// Returns whether clients may connect to a namespace.
    pub fn serves_namespace(&self, namespace: &str) -> bool {
        self.namespaces
            .as_ref()
            .is_none_or(|served| served.iter().any(|served| served == namespace))
    }

    /// Suggests a rule once, in the log, for an event that is relayed unchanged.
    pub(super) fn suggest(&self, event: &str) {
        let Some(suggested) = &self.suggested else { return };
        if event.len() > MAX_SUGGESTED_BYTES || self.relay.names(event) {
            return;
        }
        let mut suggested = suggested.lock();
        if suggested.len() < MAX_SUGGESTIONS && suggested.insert(event.into()) {
            let rule = format!("[[in]] event = {event:?}, does = \"relay\", rename = \"…\"");
            info!(
                event,
                rule, "relaying an event that no rule names; a rule in a profile renames it"
            );
        }
    }
}

impl Default for Profiles {
    /// Returns all built-in profiles.
    fn default() -> Self {
        Self::new(Profile::builtin().to_vec(), RelayEvents::default())
    }
}

/// The event profile of one session.
#[derive(Debug)]
pub struct Choice {
    profiles: Arc<Profiles>,
    connection: ConnectionId,
    /// The number of the candidate, from 1; 0 while the choice is undecided.
    chosen: AtomicU8,
    /// Whether the client has signaled with the events of undecided sessions. From then on only its
    /// own events may decide.
    has_signaled: AtomicBool,
}

impl Choice {
    /// Creates an undecided choice.
    pub fn new(profiles: Arc<Profiles>, connection: ConnectionId) -> Self {
        Self {
            profiles,
            connection,
            chosen: AtomicU8::new(0),
            has_signaled: AtomicBool::new(false),
        }
    }

    /// Returns the connection that chooses.
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Returns the profiles to choose from.
    pub fn profiles(&self) -> &Profiles {
        &self.profiles
    }

    /// Returns the number of the chosen candidate.
    pub(super) fn chosen(&self) -> Option<u8> {
        self.chosen.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Returns the current profile: the chosen one, or the one of undecided sessions.
    pub fn profile(&self) -> &Profile {
        &self.profiles.candidates[self.chosen().map_or(self.profiles.default, usize::from)]
    }

    /// Chooses the first candidate that has a rule for an event of the client.
    pub(super) fn claim<'a>(&self, arguments: &Arguments<'a>, text: &'a str) {
        if self.chosen().is_some() {
            return;
        }
        let Some(claims) = self.profiles.claims.get(&*arguments.name) else { return };
        let matches = |index: &&usize| {
            let recognized = self.profiles.candidates[**index].recognize(arguments, text);
            matches!(recognized, Recognized::Rule(rule, _) if rule.decides())
        };
        // An event that the current profile knows does not choose a candidate after it.
        if let Some(index) =
            claims.iter().find(matches).filter(|index| **index != self.profiles.default)
        {
            self.decide(*index);
        }
    }

    /// Records that the client has sent a signal.
    pub(super) fn note_signal(&self) {
        self.has_signaled.store(true, Ordering::Relaxed);
    }

    /// Takes the profile of a signal's sender, if this session is undecided, its client has not
    /// sent a signal, and the sender has a profile of its own.
    pub(super) fn adopt(&self, sender: Option<u8>) {
        if let (None, Some(index)) = (self.chosen(), sender.map(usize::from))
            && !self.has_signaled.load(Ordering::Relaxed)
            && index < self.profiles.candidates.len()
            && index != self.profiles.default
        {
            self.decide(index);
        }
    }

    /// Returns the choice as text: the name of the profile, if one is chosen, after a digit that
    /// tells whether the client has signaled.
    pub(super) fn memory(&self) -> String {
        let name = self.chosen().map_or("", |_| self.profile().name());
        format!("{}{name}", u8::from(self.has_signaled.load(Ordering::Relaxed)))
    }

    /// Takes the choice of the same session on another node. A profile that this server does not
    /// have is ignored.
    pub(super) fn recall(&self, memory: &str) {
        let (has_signaled, name) = memory.split_at_checked(1).unwrap_or_default();
        if has_signaled == "1" {
            self.note_signal();
        }
        let known = self.profiles.candidates.iter().position(|candidate| candidate.name() == name);
        if let Some(index) = known.filter(|_| !name.is_empty()) {
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
