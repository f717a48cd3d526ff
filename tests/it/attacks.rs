//! Attacks, one file per class. Each attack ends with the connection that made it, and affects no
//! other client.
//!
//! During an attack, bystanders hold calls over every protocol. Each call must succeed, and be
//! quick where that is asserted. Afterwards the server is empty, and none of its tasks has
//! panicked: see [`attacked`](crate::support::attacked).

mod accounting;
mod connections;
mod floods;
mod frames;
mod full_queues;
mod headers;
mod ids;
mod media;
mod media_floods;
mod memory;
mod nesting;
mod origins;
mod packet_order;
mod packets;
mod paths;
mod proxy_addresses;
mod proxy_headers;
mod slow_http;
pub(crate) mod slow_readers;
mod upgrades;

/// WebSocket endpoints of all protocols; connecting to the topic already joins.
const ENDPOINTS: [&str; 4] = [SOCKET_IO, "/signal", "/ws", "/ws/attacked"];

/// The only endpoint whose close codes the library chooses.
const SOCKET_IO: &str = "/socket.io/?EIO=4&transport=websocket";

/// Some attacks need more messages than one connection may send.
const UNLIMITED: &str = "--messages-per-second=0";
