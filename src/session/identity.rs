//! The grant of a session. Every command of every protocol is checked against it before it reaches
//! the rooms.

use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::auth::{Denial, Grant};
use crate::dialect::Names;
use crate::id::PeerId;
use crate::room::Command;

/// The grant of a session's token, once it has one.
#[derive(Debug, Default)]
pub(super) struct Identity(Mutex<Option<Arc<Grant>>>);

impl Identity {
    /// Returns the current grant.
    pub(super) fn grant(&self) -> Option<Arc<Grant>> {
        self.0.lock().clone()
    }

    /// Replaces the grant, which must have the same subject, and returns the previous one.
    pub(super) fn accept(&self, grant: Grant) -> Result<Option<Arc<Grant>>, Denial> {
        let mut held = self.0.lock();
        if held.as_ref().is_some_and(|held| held.subject != grant.subject) {
            return Err(Denial::OtherPerson);
        }
        Ok(held.replace(Arc::new(grant)))
    }

    /// Removes the grant, because the session has ended.
    pub(super) fn clear(&self) -> Option<Arc<Grant>> {
        self.0.lock().take()
    }

    /// Applies the grant to a command. Returns the command, and the maximum size of a room that it
    /// creates.
    ///
    /// A join gets the subject of the token as its peer id. Other commands only require a grant,
    /// since they concern rooms that were joined with it.
    pub(super) fn authorize(
        &self,
        command: Command,
        names: Names,
        now: SystemTime,
    ) -> Result<(Command, Option<usize>), Denial> {
        let grant =
            self.grant().filter(|grant| now < grant.expires_at).ok_or(Denial::Unauthorized)?;
        match command {
            Command::Join { room, peer, metadata, kind } => {
                if !grant.allows(&room) {
                    return Err(Denial::OtherRoom);
                }
                let (peer, metadata) = match names {
                    Names::Chosen => {
                        (Some(subject_as_peer(&grant, peer)?), grant.metadata(&metadata, false))
                    }
                    Names::Given => (peer, grant.metadata(&metadata, true)),
                    Names::Unspoken => (peer, metadata),
                };
                Ok((Command::Join { room, peer, metadata, kind }, grant.capacity))
            }
            Command::Update { room, patch } => {
                Ok((Command::Update { room, patch: grant.allowed_patch(&patch) }, None))
            }
            command @ (Command::Inspect { .. }
            | Command::Leave { .. }
            | Command::HangUp { .. }
            | Command::Relay { .. }) => Ok((command, None)),
        }
    }
}

/// Returns the token's subject as the peer id, unless the client asks for another one.
fn subject_as_peer(grant: &Grant, asked: Option<PeerId>) -> Result<PeerId, Denial> {
    match asked {
        Some(asked) if asked != grant.subject => Err(Denial::OtherPerson),
        Some(_) | None => Ok(grant.subject.clone()),
    }
}
