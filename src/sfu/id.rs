//! Ids of routers, transports, producers and consumers: random, and created by the server.

use std::fmt;

use rustc_hash::FxHashMap;
use uuid::Uuid;

/// A map keyed by such an id. Every packet is looked up in several of them. Clients cannot choose
/// ids that collide, so a fast hash without protection against that is enough.
pub(super) type ById<Id, T> = FxHashMap<Id, T>;

macro_rules! media_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// A version 4 UUID: 122 random bits.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// Returns a new random id.
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            /// Parses the text that [`Display`](fmt::Display) writes. Returns `None` for anything
            /// that is not a UUID.
            pub fn parse(text: &str) -> Option<Self> {
                Uuid::try_parse(text).ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
    };
}

media_id! {
    /// Identifies the router of a room.
    RouterId
}

media_id! {
    /// Identifies a transport.
    TransportId
}

media_id! {
    /// Identifies a producer: one track that a peer sends.
    ProducerId
}

media_id! {
    /// Identifies a consumer: one producer forwarded to one peer.
    ConsumerId
}
