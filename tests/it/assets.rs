//! The files that the executable contains: started in a folder without sources, it serves the demo,
//! the client bundles and the documentation.

use reqwest::{Client as Http, Response, StatusCode, header};

use crate::support::program::{Program, parlor};

fn start(environment: &[(&str, &str)]) -> Program {
    let mut command = parlor();
    command.envs([("HOST", "127.0.0.1"), ("PORT", "0")]).envs(environment.iter().copied());
    Program::start(command)
}

async fn get(program: &Program, path: &str, headers: &[(header::HeaderName, &str)]) -> Response {
    let mut request = Http::new().get(format!("http://{}{path}", program.address()));
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    request.send().await.unwrap()
}

fn header_of(response: &Response, name: header::HeaderName) -> &str {
    response.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

#[tokio::test]
async fn embedded_files_are_compressed_and_cached_by_hash() {
    let program = start(&[]);
    let page = get(&program, "/", &[]).await;
    assert!(header_of(&page, header::CONTENT_TYPE).starts_with("text/html"));
    assert_eq!(header_of(&page, header::CACHE_CONTROL), "no-cache");
    assert!(header_of(&page, header::CONTENT_SECURITY_POLICY).contains("default-src 'self'"));
    let text = page.text().await.unwrap();
    let script = text
        .split('"')
        .find(|part| part.starts_with("/assets/") && part.ends_with("/app.js"))
        .unwrap()
        .to_owned();

    let plain = get(&program, &script, &[]).await;
    assert_eq!(header_of(&plain, header::CONTENT_ENCODING), "");
    assert!(header_of(&plain, header::CACHE_CONTROL).contains("immutable"));
    let length = plain.text().await.unwrap().len();
    for (accepted, coding) in [("gzip, br", "br"), ("gzip", "gzip")] {
        let response = get(&program, &script, &[(header::ACCEPT_ENCODING, accepted)]).await;
        assert_eq!(header_of(&response, header::CONTENT_ENCODING), coding);
        assert_eq!(header_of(&response, header::VARY), "accept-encoding");
        let tag = header_of(&response, header::ETAG).to_owned();
        assert!(response.bytes().await.unwrap().len() < length * 2 / 3);
        let known = [(header::ACCEPT_ENCODING, accepted), (header::IF_NONE_MATCH, tag.as_str())];
        let again = get(&program, &script, &known).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert!(again.bytes().await.unwrap().is_empty());
    }

    // A page of an earlier version gets the current file, which its browser must not keep.
    let earlier = get(&program, "/assets/0123456789abcdef/app.js", &[]).await;
    assert_eq!(earlier.status(), StatusCode::OK);
    assert_eq!(header_of(&earlier, header::CACHE_CONTROL), "no-cache");
    for path in [
        "/assets/0/package.json",
        "/assets/0/../Cargo.toml",
        "/package.json",
        "/README.md",
        "/vendor/NOTICES.md",
    ] {
        assert_eq!(get(&program, path, &[]).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    program.stop();
}

#[tokio::test]
async fn bundles_and_guides_are_served_anywhere() {
    let program = start(&[]);
    for (path, part) in [
        ("/socket.io/socket.io.js", "Socket.IO v4"),
        ("/socket.io/socket.io.esm.min.js", "export"),
        ("/client/parlor.js", "export { Mesh }"),
        ("/client/io.js", "from \"/socket.io/"),
        ("/client/parlor.d.ts", "Mesh"),
        ("/docs/", "Which protocol?"),
        ("/docs/frontend", "href=\"/docs/profiles\""),
        ("/docs/operators", "id=\"tls\""),
        ("/docs/reference", "Reference"),
        ("/docs/search.json", "\"url\":\"/docs/operators#tls\""),
        ("/docs/performance/call.svg", "<svg"),
    ] {
        let response = get(&program, path, &[]).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let text = response.text().await.unwrap();
        assert!(text.contains(part), "{path} lacks {part:?}");
    }
    let log = program.stop();
    assert!(!log.contains("this build lacks"), "{log}");
}

#[tokio::test]
async fn production_has_a_start_page_that_links_the_documentation() {
    let program = start(&[("NODE_ENV", "production"), ("SFU", "off")]);
    let page = get(&program, "/", &[]).await;
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.text().await.unwrap().contains("href=\"/docs/\""));
    for path in ["/index.html", "/app.js", "/assets/0/app.js"] {
        assert_eq!(get(&program, path, &[]).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    program.stop();
}

/// Every link between pages of the documentation leads to a page, and every anchor to a heading.
#[tokio::test]
async fn links_between_guides_resolve() {
    let program = start(&[]);
    let search: serde_json::Value =
        get(&program, "/docs/search.json", &[]).await.json().await.unwrap();
    let pages: std::collections::BTreeSet<String> = search
        .as_array()
        .unwrap()
        .iter()
        .map(|section| section["url"].as_str().unwrap().split('#').next().unwrap().to_owned())
        .collect();
    assert!(pages.len() > 10, "{pages:?}");
    for page in &pages {
        let text = get(&program, page, &[]).await.text().await.unwrap();
        for link in text.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path = if path.is_empty() { page } else { path };
            if !path.starts_with("/docs") {
                continue;
            }
            let response = get(&program, path, &[]).await;
            assert_eq!(response.status(), StatusCode::OK, "{page} links {link}");
            let target = response.text().await.unwrap();
            assert!(
                anchor.is_empty() || target.contains(&format!("id=\"{anchor}\"")),
                "{page} links {link}"
            );
        }
    }
    program.stop();
}
