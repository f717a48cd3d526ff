//! The documents match the server, and the server serves them.

use std::collections::BTreeSet;
use std::path::Path;

use parlor::http::docs::{ASYNCAPI, OPENAPI};
use serde_json::Value;

use crate::support::TestServer;

/// Returns the routes with a prefix in the router's source.
fn routes(is_wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let source =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http.rs")).unwrap();
    let routes =
        source.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    routes.filter(|path| is_wanted(path)).collect()
}

#[test]
fn openapi_has_exactly_the_rest_routes() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let documented: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(|path| path.replace("{roomId}", "{room}"))
        .collect();
    assert_eq!(
        documented,
        routes(|path| ["/api/", "/health", "/metrics"]
            .iter()
            .any(|prefix| path.starts_with(prefix)))
    );
}

#[test]
fn asyncapi_has_exactly_the_plain_protocols() {
    let document: Value = serde_json::from_str(ASYNCAPI).unwrap();
    let channels = document["channels"].as_object().unwrap().values();
    let documented: BTreeSet<String> =
        channels.map(|channel| channel["address"].as_str().unwrap().to_owned()).collect();
    // A trailing slash is allowed everywhere and not documented.
    assert_eq!(
        documented,
        routes(|path| (path == "/signal" || path.starts_with("/ws")) && !path.ends_with('/'))
    );
}

#[tokio::test]
async fn pages_and_documents_are_served() {
    let server = TestServer::start();
    for (path, kind, begins) in [
        ("/docs", "text/html", "<!doctype html>"),
        ("/docs/docs.css", "text/css", ""),
        ("/docs/theme.js", "text/javascript", ""),
        ("/docs/page.js", "text/javascript", ""),
        ("/docs/reference.js", "text/javascript", ""),
        ("/docs/reference", "text/html", "<!doctype html>"),
        ("/docs/openapi.json", "application/json", "{"),
        ("/docs/asyncapi.json", "application/json", "{"),
    ] {
        let answer = reqwest::get(server.url(path)).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert!(answer.headers()["content-type"].to_str().unwrap().starts_with(kind), "{path}");
        let text = answer.text().await.unwrap().to_lowercase();
        assert!(text.starts_with(begins), "{path}");
    }
    server.finish().await;
}

/// Returns the text between backquotes of a line, in order.
fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Returns the file that the security page calls by this path: from the root, or from `tests/it`.
fn named_file(path: &str) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    [root.join(path), root.join("tests/it").join(path)]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
}

/// The security page names the tests of each defence as `file::test`, or as `::test` after a file,
/// which may be in the paragraph above the table.
#[test]
fn tests_named_by_the_security_page_exist() {
    let page = named_file("docs/security.md").unwrap();
    let (mut checked, mut missing) = (0, Vec::new());
    let (mut file, mut file_of_table) = (String::new(), String::new());
    for line in page.lines() {
        let is_row = line.starts_with('|');
        if is_row {
            file.clone_from(&file_of_table);
        }
        for span in code_spans(line) {
            let (path, test) =
                span.split_once("::").map_or((span, None), |(path, test)| (path, Some(test)));
            let is_file = [".rs", ".py", ".js"].iter().any(|end| path.ends_with(end));
            if is_file {
                let Some(content) = named_file(path) else {
                    missing.push(span);
                    continue;
                };
                file = content;
                if !is_row {
                    file_of_table.clone_from(&file);
                }
            }
            let Some(test) = test.filter(|_| is_file || path.is_empty()) else { continue };
            checked += 1;
            let definitions = ["fn", "def"].map(|keyword| format!("{keyword} {test}("));
            if !definitions.iter().any(|definition| file.contains(definition)) {
                missing.push(span);
            }
        }
    }
    assert!(missing.is_empty(), "docs/security.md names tests that do not exist: {missing:?}");
    assert!(checked > 80, "{checked} tests are named");
}

/// Paths are from the root, or from `src` or one of its folders, there without an ending.
#[test]
fn paths_named_by_the_pages_for_contributors_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders =
        ["", "src", "src/cluster", "src/dialect", "src/transport"].map(|folder| root.join(folder));
    let exists = |path: &str| {
        let source = format!("{path}.rs");
        folders.iter().any(|folder| folder.join(path).exists() || folder.join(&source).exists())
    };
    let is_path = |span: &&str| {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
        span.contains('/') && !span.starts_with(['/', '.']) && span.chars().all(is_plain)
    };
    let (mut checked, mut missing) = (0, Vec::new());
    for page in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let page = named_file(page).unwrap();
        let spans = page.lines().flat_map(code_spans).filter(is_path);
        for span in spans.filter(|span| !span.starts_with("target/")) {
            checked += 1;
            if !exists(span) {
                missing.push(span.to_owned());
            }
        }
    }
    assert!(missing.is_empty(), "paths that do not exist: {missing:?}");
    assert!(checked > 80, "{checked} paths are named");
}
