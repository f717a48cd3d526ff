//! The grant of a session: every command of every protocol is checked against it before it reaches the rooms.

use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::auth::{Denial, Grant};
use crate::dialect::Names;
use crate::id::PeerId;
use crate::room::Command;

/// What a connection's token allows, once it has brought one.
#[derive(Debug, Default)]
pub(super) struct Identity(Mutex<Option<Arc<Grant>>>);

impl Identity {
    /// The grant in force.
    pub(super) fn grant(&self) -> Option<Arc<Grant>> {
        self.0.lock().clone()
    }

    /// Takes a grant in place of the one before, which must be of the same person; gives back that one.
    pub(super) fn accept(&self, grant: Grant) -> Result<Option<Arc<Grant>>, Denial> {
        let mut held = self.0.lock();
        if held.as_ref().is_some_and(|held| held.subject != grant.subject) {
            return Err(Denial::OtherPerson);
        }
        Ok(held.replace(Arc::new(grant)))
    }

    /// Takes the grant away: the connection has ended.
    pub(super) fn forget(&self) -> Option<Arc<Grant>> {
        self.0.lock().take()
    }

    /// The command as the token allows it, and the most peers of a room that it creates.
    ///
    /// A join gets the person of the token. Everything else needs no more than that there is a token: whom it concerns
    /// is told by the rooms that were joined.
    pub(super) fn authorize(
        &self,
        command: Command,
        names: Names,
        now: SystemTime,
    ) -> Result<(Command, Option<usize>), Denial> {
        let grant = self.grant().filter(|grant| now < grant.expires_at).ok_or(Denial::Unauthorized)?;
        match command {
            Command::Join { room, peer, metadata, kind } => {
                if !grant.allows(&room) {
                    return Err(Denial::OtherRoom);
                }
                let (peer, metadata) = match names {
                    Names::Chosen => (Some(same(&grant, peer)?), grant.metadata(&metadata, false)),
                    Names::Given => (peer, grant.metadata(&metadata, true)),
                    Names::Unspoken => (peer, metadata),
                };
                Ok((Command::Join { room, peer, metadata, kind }, grant.capacity))
            }
            Command::Update { room, patch } => Ok((Command::Update { room, patch: grant.allowed_patch(&patch) }, None)),
            command @ (Command::Inspect { .. }
            | Command::Leave { .. }
            | Command::HangUp { .. }
            | Command::Relay { .. }) => Ok((command, None)),
        }
    }
}

/// The token's person, which is also whom the client names, if it names anyone.
fn same(grant: &Grant, asked: Option<PeerId>) -> Result<PeerId, Denial> {
    match asked {
        Some(asked) if asked != grant.subject => Err(Denial::OtherPerson),
        Some(_) | None => Ok(grant.subject.clone()),
    }
}
