//! Instructions per signal: a figure that does not depend on the load of the machine.
//!
//! The server runs under `valgrind --tool=callgrind`, which counts the instructions executed
//! outside the kernel. It runs twice, with few signals and with many; the difference excludes
//! startup and shutdown.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::clients::{Clients, Waiting};
use crate::joining::disconnect_all;
use crate::pinning::Cores;
use crate::report;
use crate::server::{Contestant, ENVELOPE, PARLOR, Programs, SESSION, Server, TOPIC, root};
use crate::work::relay::{CANDIDATE, Mode, OFFER, Pairs, Payload};

/// The cases: name, protocol, payload, and signals in flight.
const CASES: [(&str, Contestant, Payload, usize); 6] = [
    ("Socket.IO, candidate", PARLOR, CANDIDATE, 1),
    ("Socket.IO, candidate, eight in flight", PARLOR, CANDIDATE, 8),
    ("Socket.IO, offer", PARLOR, OFFER, 1),
    ("`/ws/{topic}`, candidate", TOPIC, CANDIDATE, 1),
    ("`/signal`, candidate", SESSION, CANDIDATE, 1),
    ("`/ws`, candidate", ENVELOPE, CANDIDATE, 1),
];

const FEW: u64 = 1000;
const MANY: u64 = 5000;

/// Maximum ratio of a figure to the recorded one.
const TOLERANCE: f64 = 1.1;

/// Counts instructions and compares them with the recorded ones. Fails on large increases; with
/// `record`, records them.
pub(crate) fn run(programs: &Programs, cores: Cores, record: bool) -> anyhow::Result<()> {
    ensure!(
        Command::new("valgrind").arg("--version").output().is_ok(),
        "there is no valgrind here"
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.json");
    let recorded: BTreeMap<String, f64> = match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)?,
        Err(_) if record => BTreeMap::new(),
        Err(error) => return Err(error).context(path.display().to_string()),
    };
    let mut counted = BTreeMap::new();
    let mut grown = Vec::new();
    println!("instructions per signal, outside the kernel:");
    for (name, contestant, payload, in_flight) in CASES {
        let few =
            count(&contestant, programs, cores, payload, in_flight, FEW).with_context(|| name)?;
        let many =
            count(&contestant, programs, cores, payload, in_flight, MANY).with_context(|| name)?;
        let each = (many as f64 - few as f64) / (MANY - FEW) as f64;
        let before = recorded.get(name).copied();
        let compared = before.map_or_else(String::new, |before| {
            format!(" ({:+.1} %)", (each / before - 1.0) * 100.0)
        });
        println!("  {name}: {each:.0}{compared}");
        if before.is_some_and(|before| each > before * TOLERANCE) {
            grown.push(name);
        }
        counted.insert(name.to_owned(), each.round());
    }
    if record {
        fs::write(&path, serde_json::to_string_pretty(&counted)? + "\n")?;
        return report::instructions(&counted, root());
    }
    if !grown.is_empty() {
        bail!(
            "much more than in {}: {}; if it is worth it, `make bench-record`",
            path.display(),
            grown.join(", ")
        );
    }
    Ok(())
}

/// Returns the instructions of a server for one pair that exchanges a number of signals.
fn count(
    contestant: &Contestant,
    programs: &Programs,
    cores: Cores,
    payload: Payload,
    in_flight: usize,
    signals: u64,
) -> anyhow::Result<u64> {
    let out = root().join("target/callgrind.out");
    let under = [
        "valgrind",
        "--quiet",
        "--tool=callgrind",
        &format!("--callgrind-out-file={}", out.display()),
    ];
    let server = Server::start(contestant, programs, &[cores.server], &under.map(str::to_owned))?;
    let mut clients = Clients::new(contestant.dialect, server.address, Waiting::Sleeps)?;
    let mut pairs = Pairs::join(&mut clients, 1, payload)?;
    pairs.relay(&mut clients, &server, in_flight, Mode::Counted(signals))?;
    disconnect_all(&mut clients)?;
    server.stop()?;
    let profile = fs::read_to_string(&out).context("callgrind writes a profile")?;
    let line = profile
        .lines()
        .find_map(|line| line.strip_prefix("summary: "))
        .context("a profile has a summary")?;
    Ok(line.trim().parse()?)
}
