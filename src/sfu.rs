//! The media server: a selective forwarding unit (SFU; RFC 7667, section 3.7). A peer sends its media once; whoever wants
//! it gets it from here.
//!
//! - [`switch`] is the unit itself, without sockets, threads or a clock: a [`Request`] in, an [`Answer`] out; a datagram
//!   in, datagrams and [`Notice`]s out;
//! - [`transport`] is one client's connection of media, on str0m; [`producer`] what comes in over one, [`consumer`] what
//!   goes out;
//! - [`newcomer`] says which streams are listened to that nobody described;
//! - [`flow`] takes packets from producers to consumers; [`codec`] looks into them, [`rewrite`] numbers them anew;
//! - [`bandwidth`] says which layers go out; [`output`] is what transports give off;
//! - [`router`] says what can be carried, [`formats`] by which numbers on a transport, [`parameters`] how that is written;
//! - [`speaker`] says who speaks;
//! - [`ending`] is how each of those ends; [`figures`] is what is counted;
//! - [`admission`] says how many transports there may be, and how long one may take to connect; [`bucket`] counts what comes
//!   too often; [`authentic`] tells what was encrypted by its client, [`stun`] which transport a request is for;
//! - [`driver`] gives all that a thread, a socket and a clock; [`agenda`] is the order of requests, [`breath`] how that thread
//!   shares its core, [`notes`] what it writes to the log.
//!
//! It knows neither rooms nor wires: a room is a name here, and a peer whoever the [`Asker`] says. What it tells is typed,
//! and written by a dialect. The library str0m is named here and nowhere else.
//!
//! The guarantee that is easy to break: no input reaches a panic. The library's direct interface panics where it is told of
//! what was not declared, so all is checked before; and what still panics ends the one transport that it concerns.

mod admission;
mod agenda;
mod authentic;
mod bandwidth;
mod breath;
mod bucket;
mod codec;
mod consumer;
mod driver;
mod ending;
mod figures;
mod flow;
mod formats;
pub mod id;
mod newcomer;
mod notes;
mod output;
pub mod parameters;
mod producer;
pub mod request;
mod rewrite;
mod router;
mod speaker;
mod stun;
mod switch;
mod transport;

pub use driver::{Company, DriveError, Media, Reply, Running, found_out};
pub use figures::Figures;
pub use flow::Outputs;
pub use output::Datagram;
pub use request::{
    Answer, Asker, Audience, Concern, ConsumerAction, Consuming, Direction, Listed, MediaEvent, Notice, Problem,
    ProducerAction, Request, SfuError,
};
pub use router::capabilities;
pub use switch::{NoCertificate, Settings, Sfu};
