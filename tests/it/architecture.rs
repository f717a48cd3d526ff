//! Checks which modules and libraries each source file names, by reading the source: see
//! `ARCHITECTURE.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Libraries that a layer must not name.
const FORBIDDEN: [(&str, &[&str]); 7] = [
    ("src/id.rs", &["tokio", "axum", "socketioxide", "engineioxide", "crate::"]),
    (
        "src/room",
        &[
            "tokio",
            "axum",
            "hyper",
            "http::",
            "serde",
            "socketioxide",
            "engineioxide",
            "crate::dialect",
            "crate::session",
            "crate::transport",
            "crate::http",
            "crate::config",
            "SystemTime::now",
        ],
    ),
    (
        "src/dialect",
        &[
            "tokio",
            "axum",
            "hyper",
            "socketioxide",
            "engineioxide",
            "crate::session",
            "crate::transport",
            "crate::http",
            "crate::config",
            "async ",
            "dashmap",
        ],
    ),
    (
        "src/session",
        &[
            "axum",
            "hyper",
            "http::",
            "socketioxide",
            "engineioxide",
            "serde",
            "crate::transport",
            "crate::http",
            "crate::config",
            "crate::dialect::socketio",
        ],
    ),
    (
        "src/cluster",
        &[
            "tokio",
            "axum",
            "hyper",
            "http::",
            "serde",
            "socketioxide",
            "crate::dialect",
            "crate::session",
            "crate::transport",
            "crate::http",
            "crate::config",
            "SystemTime::now",
            "Instant::now",
        ],
    ),
    ("src/http", &["socketioxide", "engineioxide"]),
    (
        "src/sfu",
        &[
            "axum",
            "hyper",
            "http::",
            "socketioxide",
            "crate::dialect",
            "crate::session",
            "crate::room",
            "crate::transport",
            "crate::http",
            "crate::config",
            "SystemTime",
        ],
    ),
];

/// The part of the cluster with sockets and clocks.
const WITH_SOCKET: &str = "src/cluster/redis";

/// The modules that each module may name, with the reason. All others fail the test.
const EDGES: &[(&str, &[(&str, &str)])] = &[
    (
        "auth",
        &[
            ("id", "a token grants room and peer ids"),
            ("json", "metadata of a token is JSON text"),
            ("file_watch", "reloads a key set when its file changes"),
            ("lifecycle", "the task that reloads a key set"),
            ("room", "metadata of a peer; the error codes"),
        ],
    ),
    (
        "cluster",
        &[
            ("clock", "a moment"),
            ("id", "ids in messages and records"),
            ("room", "applies the log of shared rooms to the rooms of this node"),
            ("tls", "connects to engines"),
        ],
    ),
    (
        "config",
        &[
            ("dialect", "checks the names of event profiles and events"),
            ("ice", "checks the URLs of ICE servers"),
            ("id", "checks ids"),
        ],
    ),
    (
        "dialect",
        &[
            ("auth", "conversations get the grant of a token"),
            ("ice", "clients get the ICE servers when they join"),
            ("id", "ids in messages"),
            ("json", "reads and writes messages"),
            ("room", "decodes commands, encodes events"),
            ("sfu", "decodes media requests, encodes answers"),
        ],
    ),
    ("file_watch", &[("lifecycle", "the checks end with the server")]),
    ("health", &[("config", "where the server listens"), ("tls", "asks over TLS")]),
    (
        "http",
        &[
            ("clock", "when a room is created"),
            ("cluster", "rooms and health of all nodes"),
            ("config", "the settings in force"),
            ("dialect", "one route for each protocol"),
            ("id", "room ids in paths"),
            ("metrics", "serves them"),
            ("request", "client address, token, errors"),
            ("room", "REST reads and changes rooms"),
            ("session", "the hub"),
            ("tls", "the names of the certificate are origins of our own"),
            ("transport", "the routes of the handshakes"),
        ],
    ),
    ("ice", &[("id", "credentials name the peer"), ("json", "writes the list")]),
    (
        "metrics",
        &[("room", "error codes and kinds of signals are labels"), ("sfu", "media is counted")],
    ),
    (
        "record",
        &[
            ("config", "the flags, and the settings of a trial"),
            ("dialect", "decodes packets, reads profiles"),
            ("lifecycle", "spawns the tasks of the proxy"),
            ("server", "plays recorded clients against one"),
            ("tls", "recorded servers that speak TLS"),
        ],
    ),
    (
        "request",
        &[
            ("auth", "denials are errors"),
            ("dialect", "decode errors of a handshake are errors"),
            ("id", "bad ids are errors"),
            ("metrics", "an error names the limit that was hit"),
            ("room", "errors of rooms are errors"),
            ("session", "errors of admission are errors"),
        ],
    ),
    ("room", &[("clock", "a moment"), ("id", "ids"), ("shrink", "shrinks maps")]),
    (
        "server",
        &[
            ("auth", "builds the verifier"),
            ("clock", "the clock of the cluster"),
            ("cluster", "connects to its engines"),
            ("config", "the settings"),
            ("dialect", "reads event profiles"),
            ("http", "the router"),
            ("ice", "builds the list"),
            ("lifecycle", "spawns tasks"),
            ("metrics", "creates them"),
            ("request", "the trusted proxies"),
            ("room", "creates the rooms"),
            ("session", "creates the hub"),
            ("sfu", "starts the media server"),
            ("timeouts", "passes them on"),
            ("tls", "reads the certificate"),
            ("transport", "listens"),
        ],
    ),
    (
        "session",
        &[
            ("auth", "verifies tokens"),
            ("clock", "a moment"),
            ("cluster", "asks it for joins, tells it what local peers do"),
            ("dialect", "encodes events for each recipient"),
            ("ice", "the list of a policy"),
            ("id", "ids"),
            ("lifecycle", "the task that ends connections with their tokens"),
            ("metrics", "counts"),
            ("room", "applies commands, delivers events"),
            ("sfu", "takes requests to media"),
            ("shrink", "shrinks maps"),
            ("timeouts", "time limits"),
        ],
    ),
    ("sfu", &[("id", "room and connection ids")]),
    (
        "telemetry",
        &[
            ("config", "level and format of the log"),
            ("http", "which client bundles the build lacks"),
        ],
    ),
    (
        "tls",
        &[
            ("file_watch", "reloads the certificate when its files change"),
            ("lifecycle", "the task that reloads the certificate"),
        ],
    ),
    ("token", &[("auth", "signs"), ("config", "the flags")]),
    (
        "transport",
        &[
            ("auth", "the grant of a handshake"),
            ("dialect", "conversations"),
            ("id", "connection ids"),
            ("lifecycle", "spawns tasks"),
            ("metrics", "counts"),
            ("request", "client address, token, errors"),
            ("room", "commands and reasons to leave"),
            ("session", "opens, feeds and ends sessions"),
            ("shrink", "shrinks maps"),
            ("tls", "TLS of a connection"),
        ],
    ),
];

/// Modules whose files form no cycle.
const WITHOUT_FILE_CYCLES: [&str; 2] = ["config", "session"];

/// Libraries that only these files may name.
const ONLY_IN: [(&str, &[&str]); 8] = [
    ("redis::", &["src/cluster", "src/server/cluster.rs", "src/http"]),
    ("str0m", &["src/sfu", "src/telemetry.rs"]),
    ("prometheus", &["src/metrics"]),
    ("jsonwebtoken", &["src/auth"]),
    ("rustls", &["src/tls", "src/transport/stream.rs"]),
    ("engineioxide", &["src/transport/polling"]),
    ("std::env::", &["src/config"]),
    ("tokio::spawn", &["src/lifecycle.rs"]),
];

const MAX_LINES: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the source files under a path prefix such as `src/room`, by their paths from the root,
/// without those that only contain tests.
fn sources(prefix: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            let is_code = path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("tests.rs");
            if is_code && name.starts_with(prefix) {
                found.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "nothing at {prefix}");
    found
}

/// Returns the lines of code of a file: no comments, no tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).enumerate();
    lines
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[test]
fn layers_use_only_lower_layers() {
    for (layer, names) in FORBIDDEN {
        for (file, text) in
            sources(layer).into_iter().filter(|(file, _)| !file.starts_with(WITH_SOCKET))
        {
            for (number, line) in code(&text) {
                for name in names {
                    assert!(!line.contains(name), "{file}:{number} names {name}: {line}");
                }
            }
        }
    }
}

/// Returns the module that a source file belongs to.
fn module_of(file: &str) -> &str {
    let path = file.strip_prefix("src/").unwrap();
    path.split(['/', '.']).next().unwrap()
}

/// Returns the names that follow a path prefix such as `crate::`, also in braces.
fn names_after<'a>(line: &'a str, prefix: &str) -> Vec<&'a str> {
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut names = Vec::new();
    for (start, _) in line.match_indices(prefix) {
        if line[..start].ends_with(|letter| is_name(letter) || letter == ':') {
            continue;
        }
        let rest = &line[start + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(list) => names.extend(
                list.split(['{', '}', ',']).map(|item| item.trim().split("::").next().unwrap()),
            ),
            None => names.push(rest.split(|letter| !is_name(letter)).next().unwrap()),
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn modules_name_only_those_that_are_listed() {
    let mut unused: BTreeSet<(&str, &str)> =
        EDGES.iter().flat_map(|(from, edges)| edges.iter().map(|(to, _)| (*from, *to))).collect();
    let listed = unused.clone();
    for (file, text) in sources("src") {
        let from = module_of(&file);
        if ["main", "lib"].contains(&from) {
            continue;
        }
        for (number, line) in code(&text) {
            for to in names_after(line, "crate::").into_iter().filter(|to| *to != from) {
                unused.retain(|edge| *edge != (from, to));
                assert!(
                    listed.contains(&(from, to)),
                    "{file}:{number}: {from} must not name {to}, or EDGES lacks it"
                );
            }
        }
    }
    assert!(unused.is_empty(), "EDGES lists what is not there: {unused:?}");
}

#[test]
fn listed_modules_form_no_cycle() {
    let graph = EDGES.iter().map(|(from, edges)| {
        let edges = edges.iter().map(|(to, _)| (*to).to_owned()).collect();
        ((*from).to_owned(), edges)
    });
    assert_no_cycle(&graph.collect());
}

/// Removes nodes without outgoing edges until none is left; fails if there is a cycle.
fn assert_no_cycle(graph: &BTreeMap<String, BTreeSet<String>>) {
    let mut left = graph.clone();
    loop {
        let count = left.len();
        let keys: BTreeSet<String> = left.keys().cloned().collect();
        left.retain(|_, edges| edges.iter().any(|edge| keys.contains(edge)));
        if left.len() == count {
            break;
        }
    }
    assert!(left.is_empty(), "in a cycle, or above one: {left:#?}");
}

/// Returns the files that each file of a module names. A name that the module's own file re-exports
/// counts as the file that defines it.
fn files_of(module: &str) -> BTreeMap<String, BTreeSet<String>> {
    let (own, folder) = (format!("src/{module}.rs"), format!("src/{module}/"));
    let path = format!("crate::{}::", module.replace('/', "::"));
    let files: Vec<(String, String)> = sources(&format!("src/{module}"))
        .into_iter()
        .filter(|(file, _)| *file == own || file.starts_with(&folder))
        .collect();
    let file_name = |file: &str| match file.strip_prefix(&folder) {
        Some(file) => file.split(['/', '.']).next().unwrap().to_owned(),
        None => "(own file)".to_owned(),
    };
    let names: BTreeSet<String> = files.iter().map(|(file, _)| file_name(file)).collect();
    let mut exported = BTreeMap::new();
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let statements = |text: &str| {
        let lines: Vec<&str> = code(text).map(|(_, line)| line.trim()).collect();
        lines.join(" ").split_inclusive(';').map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    for (_, text) in files.iter().filter(|(file, _)| *file == own) {
        for line in statements(text) {
            if let Some((_, list)) = line.split_once("pub use ")
                && let Some((file, items)) = list.trim_start_matches("self::").split_once("::")
            {
                let items = items.split(['{', '}', ',', ';', ' ']).filter(|item| !item.is_empty());
                exported.extend(items.map(|item| (item.to_owned(), file.to_owned())));
            }
        }
    }
    for (file, text) in &files {
        let from = file_name(file);
        let depth = file.strip_prefix(&folder).map_or(0, |file| file.matches('/').count());
        let prefix = if *file == own { String::new() } else { "super::".repeat(depth + 1) };
        for line in
            statements(text).iter().filter(|line| *file != own || !line.contains("pub use "))
        {
            let mut targets = names_after(line, &path);
            if *file == own {
                targets.extend(
                    names
                        .iter()
                        .filter(|name| !names_after(line, &format!("{name}::")).is_empty())
                        .map(String::as_str),
                );
            } else {
                targets.extend(names_after(line, &prefix));
            }
            for name in targets.into_iter().filter(|name| !["self", "super"].contains(name)) {
                let to = if names.contains(name) {
                    name
                } else {
                    exported.get(name).map_or("(own file)", String::as_str)
                };
                if to != from {
                    graph.entry(from.clone()).or_default().insert(to.to_owned());
                }
            }
        }
    }
    graph
}

#[test]
fn files_of_a_module_form_no_cycle() {
    for module in WITHOUT_FILE_CYCLES {
        assert_no_cycle(&files_of(module));
    }
}

#[test]
fn libraries_are_used_only_in_their_layer() {
    for (name, homes) in ONLY_IN {
        for (file, text) in sources("src") {
            if homes.iter().any(|home| file.starts_with(home)) {
                continue;
            }
            for (number, line) in code(&text) {
                let is_module_of_ours = line.contains("mod ") || line.contains("crate::transport");
                assert!(
                    !line.contains(name) || is_module_of_ours,
                    "{file}:{number} names {name}: {line}"
                );
            }
        }
    }
}

#[test]
fn no_file_is_too_long() {
    for (file, text) in sources("src") {
        let lines = code(&text).count();
        assert!(lines <= MAX_LINES, "{file} has {lines} lines of code");
        assert!(!file.ends_with("mod.rs"), "{file}: foo.rs beside foo/");
        assert!(text.starts_with("//!"), "{file} does not say what it is for");
    }
}

#[test]
fn settings_are_in_the_example_and_the_documentation() {
    let loaded = parlor::config::load_from([], BTreeMap::new(), BTreeMap::new()).unwrap();
    let settings: BTreeSet<String> = loaded.effective.into_iter().map(|(name, _)| name).collect();
    let example = fs::read_to_string(root().join(".env.example")).unwrap();
    let shown: BTreeSet<String> = example
        .lines()
        .filter_map(|line| line.trim_start_matches(['#', ' ']).split_once('='))
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_'))
        .collect();
    assert_eq!(shown, settings, ".env.example");
    let operators = fs::read_to_string(root().join("docs/operators.md")).unwrap();
    for name in settings {
        assert!(
            operators.contains(&format!("`{name}`")),
            "docs/operators.md does not explain {name}"
        );
    }
}

#[test]
fn every_dialect_has_recorded_frames() {
    for (file, _) in sources("src/dialect/") {
        let Some(name) =
            file.strip_prefix("src/dialect/").and_then(|file| file.strip_suffix(".rs"))
        else {
            continue;
        };
        if name.contains('/')
            || [
                "json",
                "content",
                "conversation",
                "error",
                "frame",
                "framing",
                "merge_patch",
                "message",
            ]
            .contains(&name)
        {
            continue;
        }
        for frames in ["decode.txt", "encode.txt"] {
            let path = root().join("tests/fixtures").join(name).join(frames);
            assert!(path.is_file(), "{} is missing", path.display());
        }
    }
}
