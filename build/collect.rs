//! Collects the files to embed from the source tree.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Files, compress};

/// Types of files that are served. Others in the same folders, such as `package.json`, are for
/// development.
const SERVED: [&str; 9] = ["css", "html", "ico", "js", "json", "png", "svg", "ts", "webmanifest"];

/// Names that are never embedded.
const EXCLUDED: [&str; 4] = ["node_modules", "package.json", "package-lock.json", "tsconfig.json"];

/// Folders whose files are embedded, and the prefixes of their paths. Later entries replace earlier
/// ones.
const FOLDERS: [(&str, &str); 5] = [
    ("client-demo/bundle", "demo/"),
    ("packages/client/src", "client/"),
    ("packages/client/served", "client/"),
    ("client-demo/vendor/socket.io", "socket.io/"),
    ("docs/site", "docs/"),
];

/// Files of the demo that are embedded beside its bundle, which has all of its modules and styles:
/// see `scripts/vendor.mjs`.
const DEMO_FILES: [&str; 4] =
    ["favicon.svg", "index.html", "theme.js", "vendor/mediasoup-client.js"];

/// Documents that are embedded as they are.
const DOCUMENTS: [&str; 2] = ["openapi.json", "asyncapi.json"];

/// Returns the files to embed. Missing folders are skipped: the server reports what it lacks when
/// it starts.
pub(crate) fn files(root: &Path) -> Result<Files, Box<dyn Error>> {
    let mut files = Files::new();
    for (folder, prefix) in FOLDERS {
        let folder = root.join(folder);
        // Cargo detects new files, except in folders of installed packages, which it would watch as
        // well.
        if folder.is_dir() && !folder.join("package.json").is_file() {
            watch(&folder);
        }
        for path in served_files(&folder)? {
            let name = path
                .strip_prefix(&folder)?
                .to_str()
                .ok_or("a file name is not UTF-8")?
                .replace('\\', "/");
            files.insert(format!("{prefix}{name}"), read(&path)?);
        }
    }
    for name in DEMO_FILES {
        let path = root.join("client-demo").join(name);
        if path.is_file() {
            files.insert(format!("demo/{name}"), read(&path)?);
        }
    }
    // The documentation has the themes of the demo.
    files.insert("docs/theme.js".to_owned(), read(&root.join("client-demo/theme.js"))?);
    for name in DOCUMENTS {
        files.insert(format!("docs/{name}"), read(&root.join("docs").join(name))?);
    }
    hash_references(&mut files)?;
    Ok(files)
}

fn served_files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_served = path
                .extension()
                .is_some_and(|extension| SERVED.iter().any(|served| extension == *served));
            if name.starts_with('.') || EXCLUDED.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if is_served {
                found.push(path);
            }
        }
    }
    Ok(found)
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    watch(path);
    Ok(fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?)
}

fn watch(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

/// Replaces the references in `index.html` of the demo by paths that contain the hash of all its
/// files. Files below such a path never change, so that browsers can cache them without asking
/// again.
fn hash_references(files: &mut Files) -> Result<(), Box<dyn Error>> {
    let parts: Vec<(&str, &[u8])> = files
        .iter()
        .filter(|(path, _)| {
            ["demo/", "client/", "socket.io/"].iter().any(|prefix| path.starts_with(prefix))
        })
        .map(|(path, content)| (path.as_str(), content.as_slice()))
        .collect();
    let hash = compress::hash_of(&parts);
    println!("cargo::rustc-env=PARLOR_ASSETS_HASH={hash}");
    let names: BTreeSet<String> =
        files.keys().filter_map(|path| path.strip_prefix("demo/")).map(str::to_owned).collect();
    let Some(index) = files.get_mut("demo/index.html") else { return Ok(()) };
    let mut text = String::from_utf8(std::mem::take(index))?;
    for name in names {
        for attribute in ["href", "src"] {
            for end in ["\"", "#"] {
                let reference = format!("{attribute}=\"{name}{end}");
                text =
                    text.replace(&reference, &format!("{attribute}=\"/assets/{hash}/{name}{end}"));
            }
        }
    }
    *index = text.into_bytes();
    Ok(())
}
