//! Scripts without a node.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{Value, cmd};
use tokio::sync::mpsc;

use super::codec::{Pack, decode_reply, decode_rooms, encode};
use super::connect::load_scripts;
use super::link::{Link, RedisEngine};
use super::node_table::NodeLoad;
use super::sources::Script;
use super::{EngineTarget, NodeIdentity};
use crate::cluster::record::{Incarnation, RoomRecord};
use crate::cluster::script::{Call, ScriptReply};
use crate::id::RoomId;

/// Runs scripts one by one, on a connection of its own: for tests of the scripts, and for tools.
pub struct Scripts {
    link: Arc<Link>,
    connection: MultiplexedConnection,
    loaded: Vec<String>,
}

impl Scripts {
    /// Opens a connection.
    pub async fn open(identity: NodeIdentity, target: EngineTarget) -> Result<Self, String> {
        let (_, link) = RedisEngine::new(identity, target, mpsc::channel(1).0);
        let opened = link.target.open_simple().await;
        let mut connection = opened.map_err(|problem| problem.to_string())?;
        let loaded = load_scripts(&mut connection).await.map_err(|problem| problem.to_string())?;
        Ok(Self { link, connection, loaded })
    }

    /// Runs a call as an incarnation. An engine that has no epoch gets this one.
    pub async fn run(
        &mut self,
        me: Incarnation,
        generation: u64,
        call: &Call,
        epoch: u64,
    ) -> Result<ScriptReply, String> {
        let (script, arguments) = encode(call, &self.link.identity, epoch, NodeLoad::default());
        let reply = self.run_script(me, generation, script, &arguments).await?;
        decode_reply(reply).map_err(|error| error.to_string())
    }

    /// Reads rooms.
    pub async fn rooms(&mut self, rooms: &[RoomId]) -> Result<Vec<RoomRecord>, String> {
        let mut pack = Pack::map(1);
        pack.texts("rooms", rooms.iter().map(RoomId::as_str));
        let reply = self.run_script(Incarnation(0), 0, Script::Rooms, &pack.finish()).await?;
        decode_rooms(reply).map(|(_, rooms)| rooms).map_err(|error| error.to_string())
    }

    async fn run_script(
        &mut self,
        me: Incarnation,
        generation: u64,
        script: Script,
        arguments: &[u8],
    ) -> Result<Value, String> {
        let mut command = cmd("EVALSHA");
        command.arg(&self.loaded[script as usize]).arg(1).arg(self.link.identity.keys());
        command.arg(&me.0.to_be_bytes()[..]).arg(generation).arg(arguments);
        command.query_async(&mut self.connection).await.map_err(|error| error.to_string())
    }
}
