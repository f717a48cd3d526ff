//! Keeps the language plain: one term per thing, in the words of this field.
//!
//! All Rust sources are checked except this file, which lists the words, and all documentation,
//! scripts, settings and tests in other languages.

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

/// Endings of the names of text files, and names of files without one.
const TEXT_FILES: [&str; 28] = [
    ".ci/run",
    "Dockerfile",
    "Makefile",
    "check-dependencies",
    "conf",
    "css",
    "dev",
    "example",
    "html",
    "js",
    "json",
    "jsx",
    "lua",
    "md",
    "mjs",
    "postinst",
    "postrm",
    "prerm",
    "py",
    "run-cluster",
    "seeds",
    "service",
    "socket",
    "suites",
    "toml",
    "ts",
    "yaml",
    "yml",
];

/// Folders and files that are not written by hand, or are data of tests.
const NOT_TEXT: [&str; 17] = [
    ".git",
    ".venv",
    "__pycache__",
    "artifacts",
    "bundle",
    "corpus",
    "dist",
    "fixtures",
    "node_modules",
    "package-lock.json",
    "performance",
    "pictures",
    "results",
    "screenshots",
    "site-packages",
    "target",
    "vendor",
];

/// Banned words with another meaning in text: the word, the file or folder, and the meaning.
const ALLOWED_IN_TEXT: [(&str, &str, &str); 9] = [
    ("gathering", "tests/browser/families", "`iceGatheringState` of WebRTC"),
    ("gathering", "tests/browser/peer.test.js", "`iceGatheringState` of WebRTC"),
    ("gathering", "tests/drops", "candidate gathering of WebRTC"),
    ("pictures", "README.md", "the folder `docs/pictures`"),
    ("pictures", "tests/browser", "the folder `docs/pictures`"),
    ("wire", "CHANGELOG.md", "the former parameter of the demo's URL"),
    ("wire", "client-demo", "the former parameter of the demo's URL"),
    ("wire", "tests/browser/protocols.test.js", "the former parameter of the demo's URL"),
    ("wire", "tests/browser/README.md", "the former parameter of the demo's URL"),
];

/// Phrases that are not used, each with the reason.
const BANNED_PHRASES: [(&str, &str); 22] = [
    ("all the same", "say although, or what does not change"),
    ("as it came", "say unchanged"),
    ("as it comes", "say unmodified"),
    ("at the door", "say at the handshake"),
    ("come back", "say resume, reconnect, rejoin"),
    ("comes back", "say resumes, reconnects, rejoins"),
    ("comes of it", "say what the result is"),
    ("goes on", "say continues"),
    ("going on", "say continuing"),
    ("in sight", "say visible"),
    ("in vain", "say what does not happen"),
    ("of one's own", "say own, separate"),
    ("stands for", "say denotes, represents"),
    ("stands still", "say freezes"),
    ("stood still", "say froze"),
    ("take one's place", "say resume the session"),
    ("tells it as a story", "refer to the page"),
    ("this is all of it", "say what it is"),
    ("under way", "say in flight, pending"),
    ("who comes", "name the client or peer"),
    ("who polls", "say polling client"),
    ("without a word", "say without a message"),
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

/// Beginnings of comments that are relative clauses in place of nouns.
const BANNED_CLAUSES: [&str; 6] = ["Those who ", "What ", "Where ", "Who ", "Whoever ", "Whose "];

/// Markers of comments, longest first.
const COMMENT_MARKERS: [&str; 9] =
    ["//! ", "/// ", "/** ", "<!-- ", "// ", "/* ", "* ", "-- ", "# "];

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
        "build",
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
    let mut paths = vec![root().to_owned()];
    while let Some(path) = paths.pop() {
        let file = path.file_name().unwrap().to_str().unwrap();
        if NOT_TEXT.contains(&file) {
            continue;
        }
        if path.is_dir() {
            paths.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let is_text = TEXT_FILES.iter().any(|end| name == *end || file == *end)
            || file.rsplit_once('.').is_some_and(|(_, end)| TEXT_FILES.contains(&end));
        if is_text {
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

/// Returns the text of a line that is only a comment, without its marker.
fn comment(line: &str) -> Option<&str> {
    let text = line.trim_start();
    COMMENT_MARKERS.into_iter().find_map(|marker| text.strip_prefix(marker))
}

/// Returns whether a banned word has another meaning in a file.
fn is_allowed(word: &str, file: &str) -> bool {
    ALLOWED_IN_TEXT.iter().any(|(allowed, place, _)| *allowed == word && file.starts_with(place))
}

/// Returns the problems of a file: banned words, phrases and beginnings of comments.
fn problems(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let mut report = |what: &str, instead: &str| {
            found.push(format!("{file}:{}: {what} ({instead})", index + 1));
        };
        for word in words(line) {
            if let Some((banned, instead)) = BANNED.iter().find(|(banned, _)| *banned == word)
                && !is_allowed(banned, file)
            {
                report(banned, instead);
            }
        }
        let lower = line.to_lowercase();
        for (phrase, reason) in BANNED_PHRASES {
            if lower.contains(phrase) {
                report(phrase, reason);
            }
        }
        let is_markdown = Path::new(file).extension().is_some_and(|extension| extension == "md");
        let is_first = index == 0 || comment(lines[index - 1]).is_none();
        if let Some(text) = comment(line).filter(|_| is_first && !is_markdown)
            && let Some(clause) = BANNED_CLAUSES.iter().find(|clause| text.starts_with(**clause))
            && !text.ends_with('?')
        {
            report(clause, "is a relative clause: name the thing");
        }
    }
    found
}

#[test]
fn banned_words_and_phrases_are_not_used() {
    let sources = all_files();
    let files = text_files();
    assert!(files.len() > 300, "{} files are checked", files.len());
    let found: Vec<String> =
        sources.iter().chain(&files).flat_map(|(file, text)| problems(file, text)).collect();
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
