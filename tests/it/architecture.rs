//! Who may know whom, held by reading the source: see `ARCHITECTURE.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Libraries that a layer must not name.
const FORBIDDEN: [(&str, &[&str]); 6] = [
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

/// Files that alone may name a library.
const ONLY_IN: [(&str, &[&str]); 7] = [
    ("str0m", &["src/sfu", "src/telemetry.rs"]),
    ("prometheus", &["src/metrics"]),
    ("jsonwebtoken", &["src/auth"]),
    ("rustls", &["src/tls", "src/transport/stream.rs"]),
    ("engineioxide", &["src/transport/polling"]),
    ("std::env::", &["src/config", "src/http/demo.rs"]),
    ("tokio::spawn", &["src/lifecycle.rs"]),
];

const MOST_LINES: usize = 600;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file under a path prefix such as `src/room`, by its path from the root.
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
            if name.starts_with(prefix) {
                found.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "nothing at {prefix}");
    found
}

/// The lines of code: no comments, no tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).enumerate();
    lines.map(|(index, line)| (index + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[test]
fn a_layer_knows_only_what_is_below_it() {
    for (layer, names) in FORBIDDEN {
        for (file, text) in sources(layer) {
            for (number, line) in code(&text) {
                for name in names {
                    assert!(!line.contains(name), "{file}:{number} names {name}: {line}");
                }
            }
        }
    }
}

#[test]
fn a_library_is_named_in_its_own_layer_alone() {
    for (name, homes) in ONLY_IN {
        for (file, text) in sources("src") {
            if homes.iter().any(|home| file.starts_with(home)) {
                continue;
            }
            for (number, line) in code(&text) {
                let is_module_of_ours = line.contains("mod ") || line.contains("crate::transport");
                assert!(!line.contains(name) || is_module_of_ours, "{file}:{number} names {name}: {line}");
            }
        }
    }
}

#[test]
fn no_file_is_too_long() {
    for (file, text) in sources("src") {
        let lines = code(&text).count();
        assert!(lines <= MOST_LINES, "{file} has {lines} lines of code");
        assert!(!file.ends_with("mod.rs"), "{file}: foo.rs beside foo/");
        assert!(text.starts_with("//!"), "{file} does not say what it is for");
    }
}

#[test]
fn every_setting_is_in_the_example_and_the_readme() {
    let loaded = parlor::config::load_from([], BTreeMap::new(), BTreeMap::new()).unwrap();
    let settings: BTreeSet<String> = loaded.in_force.into_iter().map(|(name, _)| name).collect();
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
        assert!(operators.contains(&format!("`{name}`")), "docs/operators.md does not explain {name}");
    }
}

#[test]
fn every_dialect_has_recorded_frames() {
    for (file, _) in sources("src/dialect/") {
        let Some(name) = file.strip_prefix("src/dialect/").and_then(|file| file.strip_suffix(".rs")) else { continue };
        if name.contains('/') || ["json", "content", "merge_patch", "message"].contains(&name) {
            continue;
        }
        for frames in ["decode.txt", "encode.txt"] {
            let path = root().join("tests/fixtures").join(name).join(frames);
            assert!(path.is_file(), "{} is missing", path.display());
        }
    }
}
