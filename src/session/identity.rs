//! Whose a connection is: every command of every wire is held against its token here, before it reaches the rooms.

use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::{Hub, Session};
use crate::auth::{Denial, Grant};
use crate::dialect::{Names, RequestError};
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

impl Session {
    /// What it shares with the others.
    pub fn hub(&self) -> &Hub {
        &self.place().hub
    }

    /// What the connection's token allows, where it has brought one.
    pub fn grant(&self) -> Option<Arc<Grant>> {
        self.place().identity.grant()
    }

    /// Takes a grant from now on, in place of the one before, which must be of the same person. The connection ends when
    /// the grant does.
    pub fn accept(&self, grant: Grant) -> Result<(), Denial> {
        let expires_at = grant.expires_at;
        let older = self.place().identity.accept(grant)?;
        if let Some(older) = older {
            self.place().hub.expiries.remove(older.expires_at, self.place().id);
        }
        self.place().hub.expiries.insert(expires_at, self.place().id);
        if self.place().has_ended() {
            self.place().hub.expiries.remove(expires_at, self.place().id);
        }
        Ok(())
    }

    /// Takes the token that an open connection brings; one that brings none stays what it is. `None` where none are
    /// required.
    pub fn authenticate(&self, token: Option<&str>) -> Result<Option<Arc<Grant>>, RequestError> {
        if let (None, Some(held)) = (token, self.place().identity.grant()) {
            return Ok(Some(held));
        }
        let address = self.place().address();
        if let (Some(_), Some(retry_after)) = (token, self.place().hub.token_wait(address)) {
            return Err(RequestError::RateLimited { retry_after });
        }
        let Some(grant) = self.place().hub.identify(address, token)? else { return Ok(None) };
        self.accept(grant)?;
        Ok(self.place().identity.grant())
    }

    /// The command as the connection may have it carried out.
    pub(super) fn authorize(&self, command: Command, now: SystemTime) -> Result<(Command, Option<usize>), Denial> {
        if !self.place().hub.requires_tokens() {
            return Ok((command, None));
        }
        self.place().identity.authorize(command, self.place().dialect.names, now)
    }
}
