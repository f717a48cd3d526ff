//! The documents say what there is, and the server serves them.

use std::collections::BTreeSet;
use std::path::Path;

use parlor::http::docs::{ASYNCAPI, OPENAPI};
use serde_json::Value;

use crate::support::TestServer;

/// The routes of a prefix in the router's source.
fn routes(is_wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http.rs")).unwrap();
    let routes = source.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    routes.filter(|path| is_wanted(path)).collect()
}

#[test]
fn every_route_of_rest_is_in_the_document_and_no_other() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let documented: BTreeSet<String> =
        document["paths"].as_object().unwrap().keys().map(|path| path.replace("{roomId}", "{room}")).collect();
    assert_eq!(
        documented,
        routes(|path| ["/api/", "/health", "/metrics"].iter().any(|prefix| path.starts_with(prefix)))
    );
}

#[test]
fn asyncapi_has_exactly_the_plain_protocols() {
    let document: Value = serde_json::from_str(ASYNCAPI).unwrap();
    let channels = document["channels"].as_object().unwrap().values();
    let documented: BTreeSet<String> =
        channels.map(|channel| channel["address"].as_str().unwrap().to_owned()).collect();
    // A slash at the end is allowed everywhere, and not worth a word.
    assert_eq!(documented, routes(|path| (path == "/signal" || path.starts_with("/ws")) && !path.ends_with('/')));
}

#[tokio::test]
async fn the_pages_and_the_documents_are_served() {
    let server = TestServer::start();
    for (path, kind, begins) in [
        ("/docs", "text/html", "<!doctype html>"),
        ("/docs/docs.css", "text/css", ""),
        ("/docs/docs.js", "text/javascript", ""),
        ("/docs/guide.js", "text/javascript", ""),
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
