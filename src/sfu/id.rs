//! Names of transports, producers and consumers: made by the server, and never guessed.

use std::fmt;

use rustc_hash::FxHashMap;
use uuid::Uuid;

/// What is found by such a name. Each packet is looked up in several, and since the names are random and ours, nobody can
/// choose them so that they collide: a hash that is only quick will do.
pub(super) type ById<Id, T> = FxHashMap<Id, T>;

macro_rules! media_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// A version 4 UUID: 122 random bits.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id.
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            /// Reads what [`Display`](fmt::Display) writes; `None` for what cannot be one.
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
    /// Names a transport.
    TransportId
}

media_id! {
    /// Names a producer: one track that a peer sends.
    ProducerId
}

media_id! {
    /// Names a consumer: one producer on its way to one peer.
    ConsumerId
}
