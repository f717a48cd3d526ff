//! The summary of what was learned, for the terminal and for the comment in the file.

use std::fmt::Write;

use serde_json::Value;

use super::infer::{Inferred, Unexplained};
use super::proof::Proof;
use super::trace::Trace;

/// The path at which Parlor serves Socket.IO by default.
const DEFAULT_PATH: &str = "/socket.io/";

/// The longest example in a summary, in characters.
const MAX_EXAMPLE: usize = 100;

/// Returns one line: how much is reproduced, whether the call connects, and what is not reproduced.
pub(super) fn headline(inferred: &Inferred, proof: &Proof) -> String {
    let call = if proof.connects() { "the call connects" } else { "the call does NOT connect" };
    let mut line =
        format!("{} of {} server events reproduced, {call}", proof.reproduced, proof.expected);
    let missing: Vec<String> = proof
        .missing
        .keys()
        .map(|event| format!("`{event}` ({})", reason(inferred, event)))
        .collect();
    if !missing.is_empty() {
        _ = write!(line, "; not reproduced: {}", missing.join(", "));
    }
    line
}

fn reason<'a>(inferred: &'a Inferred, event: &str) -> &'a str {
    let is_about =
        |it: &&Unexplained| it.event == event || it.event.starts_with(&format!("{event}: "));
    inferred
        .unexplained
        .iter()
        .find(is_about)
        .map_or("Parlor sends something else", |it| it.reason.as_str())
}

/// Returns the summary of the inferred profile: the headline, what it does not express, the
/// settings to use.
pub(super) fn summary(trace: &Trace, inferred: &Inferred, proof: &Proof, file: &str) -> String {
    summarize(trace, inferred, &inferred.unexplained, proof, file)
}

/// Returns the summary of a built-in profile that does no worse than the inferred one.
pub(super) fn summary_of_builtin(
    trace: &Trace,
    inferred: &Inferred,
    proof: &Proof,
    name: &str,
) -> String {
    summarize(trace, inferred, &[], proof, name)
}

fn summarize(
    trace: &Trace,
    inferred: &Inferred,
    listed: &[Unexplained],
    proof: &Proof,
    profile: &str,
) -> String {
    let mut out = String::new();
    if !proof.connects() {
        out.push_str("NOT PROVEN: with this profile, the recorded clients do not reach each other on Parlor.\n");
    }
    _ = writeln!(out, "{}.", headline(inferred, proof));
    for (event, (count, args)) in &proof.missing {
        let times = if *count > 1 { format!(", {count} times") } else { String::new() };
        _ = writeln!(
            out,
            "- not reproduced{times}: `{event}` ({}), for example {}",
            reason(inferred, event),
            example(args)
        );
    }
    // Events that the replay has reproduced need no explanation.
    let is_listed = |it: &&Unexplained| it.count == 0 && !proof.missing.contains_key(&it.event);
    for it in listed.iter().filter(is_listed) {
        _ = writeln!(out, "- not expressed: {it}");
    }
    for (event, code) in &proof.refused {
        _ = writeln!(out, "- refused by Parlor: `{event}` ({code})");
    }
    for event in &proof.surplus {
        _ = writeln!(out, "- sent by Parlor, but not by the recorded server: `{event}`");
    }
    for omission in &trace.omissions {
        _ = writeln!(out, "- not recorded: {omission}");
    }
    for (index, request) in trace.requests.iter().enumerate() {
        let what =
            if index == 0 { "- also asked by HTTP, which Parlor does not answer: " } else { "  " };
        _ = writeln!(out, "{what}{request}");
    }
    _ = write!(out, "\nSettings: {}", settings(trace, inferred.relay_events.as_deref(), profile));
    out
}

/// Returns the settings with which Parlor replaces the recorded server.
pub(super) fn settings(trace: &Trace, relay_events: Option<&str>, profiles: &str) -> String {
    let mut settings = format!("SOCKETIO_PROFILES='{profiles}'");
    if let Some(relay_events) = relay_events {
        _ = write!(settings, " RELAY_EVENTS='{relay_events}'");
    }
    let mut paths: Vec<&str> = trace.clients.iter().map(|client| client.path.as_str()).collect();
    paths.sort_unstable();
    paths.dedup();
    if paths.iter().any(|path| path.trim_end_matches('/') != DEFAULT_PATH.trim_end_matches('/')) {
        _ = write!(settings, " SOCKETIO_PATHS='{}'", paths.join(","));
    }
    settings
}

fn example(args: &Value) -> String {
    let text = match args.as_array().map(Vec::as_slice) {
        Some([one]) => one.to_string(),
        _ => args.to_string(),
    };
    if text.chars().count() <= MAX_EXAMPLE {
        text
    } else {
        format!("{}…", text.chars().take(MAX_EXAMPLE).collect::<String>())
    }
}
