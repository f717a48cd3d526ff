//! Keeps the language plain: one term per thing, in the words of this field.
//!
//! All Rust sources are checked except this file, which lists the words, and the documentation,
//! scripts and tests in other languages.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Words that are not used, each with the reason: the term to use instead.
const BANNED: [(&str, &str); 33] = [
    ("acquaint", "peers learn about each other"),
    ("anybody", "name the client, peer or caller"),
    ("asker", "member, client"),
    ("breath", "yield, interval"),
    ("crowd", "many connections, connection spike"),
    ("defect", "panic, bug"),
    ("defects", "panics, bugs"),
    ("disperse", "leave, disconnect"),
    ("doorkeeping", "access policy"),
    ("everybody", "all peers, all members"),
    ("farewell", "graceful shutdown, close frame"),
    ("gathering", "join, members"),
    ("goodbye", "close, disconnect"),
    ("hall", "lobby, room"),
    ("heard", "received"),
    ("heed", "respect, process"),
    ("heeded", "respected, processed"),
    ("mouth", "sender, producer"),
    ("newcomer", "new connection, joining peer, undeclared stream"),
    ("newcomers", "new connections, joining peers"),
    ("nobody", "no client, no peer"),
    ("overheard", "replayed, recorded"),
    ("pictures", "frames, video"),
    ("said", "sent, declared"),
    ("somebody", "a client, a peer"),
    ("sound", "audio"),
    ("spare", "shrink"),
    ("told", "notified, sent"),
    ("unasked", "as a notification"),
    ("whoever", "name the client, peer or caller"),
    ("whomever", "name the client, peer or caller"),
    ("wire", "protocol"),
    ("wires", "protocols"),
];

/// Folders and files with text in other languages: documentation, packages, scripts, and tests.
const TEXT: [&str; 25] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "benches/peers",
    "clients",
    "docs",
    "fuzz/README.md",
    "packages",
    "packaging",
    "scripts",
    "tests/browser/families",
    "tests/browser/matrix",
    "tests/browser/sfu.test.js",
    "tests/browser/signaling.test.js",
    "tests/browser/support",
    "tests/browser/types",
    "tests/compat",
    "tests/drops",
    "tests/media",
    "tests/packages",
    "tests/protocols",
    "tests/record",
    "tests/release",
];

/// Endings of the names of text files.
const TEXT_ENDINGS: [&str; 12] =
    ["css", "html", "js", "jsx", "json", "md", "mjs", "py", "service", "socket", "ts", "yaml"];

/// Folders that are installed or generated.
const NOT_TEXT: [&str; 6] = [".venv", "build", "dist", "node_modules", "performance", "pictures"];

/// Banned words with another meaning in text, each with the place where it has that meaning.
const ALLOWED_IN_TEXT: [(&str, &str); 4] = [
    ("gathering", "`iceGatheringState` of WebRTC"),
    ("pictures", "the folder `docs/pictures`"),
    ("sound", "a sound card"),
    ("wire", "the parameter of the demo's URL, and the ids of its elements"),
];

/// Phrases that text does not contain, each with the reason.
const BANNED_PHRASES: [(&str, &str); 8] = [
    ("as it comes", "say unmodified"),
    ("at the door", "say at the handshake"),
    ("in vain", "say what does not happen"),
    ("take one's place", "say resume the session"),
    ("tells it as a story", "refer to the page"),
    ("this is all of it", "say what it is"),
    ("who comes", "name the client or peer"),
    ("who polls", "say polling client"),
];

/// Phrases that documentation does not begin with, each with the reason.
const BANNED_BEGINNINGS: [(&str, &str); 8] = [
    ("Its ", "repeats the name of a field: name the thing, or make the item private"),
    ("Of ", "is not a sentence: name the thing"),
    ("The same", "refers to another item: say what this one does"),
    ("Their ", "repeats the name of a field: name the thing, or make the item private"),
    ("What ", "is a relative clause: name the thing"),
    ("Who ", "is a relative clause: name the client, peer or caller"),
    ("Whoever ", "is a relative clause: name the client, peer or caller"),
    ("Whose ", "is a relative clause: name the owner"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the Rust files under a folder, by their paths from the root.
fn files(folder: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    found
}

fn all_files() -> BTreeMap<String, String> {
    let folders = [
        "benches/src",
        "examples",
        "fuzz/fuzz_targets",
        "soak/src",
        "src",
        "testing/src",
        "tests/it",
    ];
    let files = folders.into_iter().flat_map(files);
    files.filter(|(file, _)| file != "tests/it/language.rs").collect()
}

/// Returns the text files, by their paths from the root.
fn text_files() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut paths: Vec<_> = TEXT.iter().map(|path| root().join(path)).collect();
    while let Some(path) = paths.pop() {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !NOT_TEXT.contains(&name) {
                paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        } else if TEXT_ENDINGS.iter().any(|ending| name.ends_with(&format!(".{ending}")))
            && name != "package-lock.json"
        {
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            found.insert(name, fs::read_to_string(path).unwrap());
        }
    }
    found
}

/// Returns the text of a line of documentation, without its marker.
fn documentation(line: &str) -> Option<&str> {
    let text = line.trim_start();
    ["//! ", "/// "].into_iter().find_map(|marker| text.strip_prefix(marker))
}

/// Splits a line into words, and identifiers into their parts.
fn words(line: &str) -> impl Iterator<Item = String> {
    let mut spaced = String::new();
    for letter in line.chars() {
        if letter.is_uppercase() {
            spaced.push(' ');
        }
        spaced.extend(letter.to_lowercase());
    }
    let words: Vec<String> =
        spaced.split(|letter: char| !letter.is_alphabetic()).map(str::to_owned).collect();
    words.into_iter()
}

#[test]
fn banned_words_are_not_used() {
    let mut found = Vec::new();
    for (file, text) in all_files() {
        for (number, line) in text.lines().enumerate() {
            for word in words(line) {
                let banned = BANNED.iter().find(|(banned, _)| *banned == word);
                found.extend(
                    banned.map(|(_, instead)| {
                        format!("{file}:{}: {word} (use {instead})", number + 1)
                    }),
                );
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn banned_words_are_not_used_in_text() {
    let files = text_files();
    assert!(files.len() > 150, "{} files are checked", files.len());
    let mut found = Vec::new();
    for (file, text) in files {
        for (number, line) in text.lines().enumerate() {
            for word in words(line) {
                let banned = BANNED.iter().find(|(banned, _)| *banned == word);
                let banned = banned
                    .filter(|(word, _)| ALLOWED_IN_TEXT.iter().all(|(allowed, _)| allowed != word));
                found.extend(
                    banned.map(|(_, instead)| {
                        format!("{file}:{}: {word} (use {instead})", number + 1)
                    }),
                );
            }
            let line = line.to_lowercase();
            let phrase = BANNED_PHRASES.iter().find(|(phrase, _)| line.contains(phrase));
            found.extend(
                phrase
                    .map(|(phrase, reason)| format!("{file}:{}: {phrase} ({reason})", number + 1)),
            );
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn documentation_begins_with_the_thing_or_a_verb() {
    let mut found = Vec::new();
    for (file, text) in all_files() {
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let is_first = index == 0 || documentation(lines[index - 1]).is_none();
            let Some(text) = documentation(line).filter(|_| is_first) else { continue };
            let banned =
                BANNED_BEGINNINGS.iter().find(|(beginning, _)| text.starts_with(beginning));
            found.extend(
                banned.map(|(beginning, reason)| {
                    format!("{file}:{}: {beginning}{reason}", index + 1)
                }),
            );
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The first word of a function's documentation is a verb in the third person, such as `Returns`.
#[test]
fn documentation_of_functions_begins_with_a_verb() {
    let mut found = Vec::new();
    for (file, text) in files("src") {
        let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
        for (index, line) in lines.iter().enumerate() {
            let is_first = index == 0 || !lines[index - 1].starts_with("///");
            let Some(text) = line.strip_prefix("/// ").filter(|_| is_first) else { continue };
            let item = lines[index..]
                .iter()
                .find(|line| !line.starts_with("///") && !line.starts_with("#["));
            let is_function = item.is_some_and(|item| {
                let item = item.trim_start_matches("pub ").trim_start_matches("pub(super) ");
                let item = item
                    .trim_start_matches("pub(crate) ")
                    .trim_start_matches("pub(in crate::sfu) ");
                ["fn ", "async fn ", "const fn "].iter().any(|start| item.starts_with(start))
            });
            let first = text.split_whitespace().next().unwrap_or_default();
            if is_function && !first.ends_with('s') && !first.starts_with('`') {
                found.push(format!("{file}:{}: {text}", index + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Two layers do not use one name for different public types.
#[test]
fn public_type_names_are_unique() {
    let mut homes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, text) in files("src") {
        for line in text.lines().filter_map(|line| line.strip_prefix("pub ")) {
            let kinds = ["struct ", "enum ", "trait ", "type "];
            let Some(rest) = kinds.into_iter().find_map(|kind| line.strip_prefix(kind)) else {
                continue;
            };
            let name: String = rest.chars().take_while(|letter| letter.is_alphanumeric()).collect();
            homes.entry(name).or_default().insert(file.clone());
        }
    }
    let shared: BTreeMap<_, _> = homes.into_iter().filter(|(_, files)| files.len() > 1).collect();
    assert!(shared.is_empty(), "public types with one name in several modules: {shared:?}");
}
