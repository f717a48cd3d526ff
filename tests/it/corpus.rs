//! Replays inputs that fuzzing has found through the same checks: see `fuzz/README.md`.

use std::fs;
use std::path::Path;

use crate::support::properties::Protocol;
use crate::support::{any_profile, engine_messages, model, packets, replay_buffer, traces};

/// Runs a check over every file of a target's corpus; names the file that fails.
fn replay(target: &str, check: impl Fn(&[u8])) {
    struct Running(String);

    impl Drop for Running {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("the input is tests/fixtures/corpus/{}", self.0);
            }
        }
    }

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/corpus").join(target);
    let mut files: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 10, "{} has few files", folder.display());
    for file in files {
        let _running = Running(format!("{target}/{}", file.file_name().unwrap().display()));
        check(&fs::read(&file).unwrap());
    }
}

#[test]
fn socketio_events() {
    replay("socketio", |data| Protocol::SocketIo.check(data));
}

#[test]
fn socketio_packets() {
    replay("packets", packets::check);
}

#[test]
fn recorded_traces() {
    replay("record", traces::check);
}

#[test]
fn event_profiles() {
    replay("profiles", any_profile::check_input);
}

#[test]
fn messages_of_the_engine() {
    replay("frame", engine_messages::check);
}

#[test]
fn envelope_conversations() {
    replay("envelope", |data| Protocol::Envelope.check(data));
}

#[test]
fn topic_conversations() {
    replay("topic", |data| Protocol::Topic.check(data));
}

#[test]
fn session_conversations() {
    replay("session", |data| Protocol::Session.check(data));
}

#[test]
fn room_scenarios() {
    replay("rooms", |data| {
        let scenario = model::scenario(data).expect("a scenario");
        let outcome = std::panic::catch_unwind(|| model::play(&scenario));
        assert!(outcome.is_ok(), "{scenario:#?}");
    });
}

#[test]
fn replay_buffer_scenarios() {
    replay("history", |data| {
        let scenario = replay_buffer::scenario(data).expect("a scenario");
        let outcome = std::panic::catch_unwind(|| replay_buffer::play(&scenario));
        assert!(outcome.is_ok(), "{scenario:#?}");
    });
}
