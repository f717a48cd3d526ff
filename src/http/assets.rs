//! The files of the demo, the client bundles and the documentation: embedded in the executable by
//! `build.rs`, or read from a checkout of the sources.
//!
//! Paths begin with `demo/`, `client/`, `socket.io/` or `docs/`. Responses have an entity tag and
//! the best content coding that the client accepts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

mod coding;

use coding::Coding;

/// The hash of the demo's files, which is part of the paths under which browsers may cache them
/// forever.
pub(crate) const HASH: &str = env!("PARLOR_ASSETS_HASH");

/// A file that is embedded in the executable.
struct Embedded {
    path: &'static str,
    /// A hash of the content.
    hash: &'static str,
    plain: &'static [u8],
    gzip: Option<&'static [u8]>,
    brotli: Option<&'static [u8]>,
}

/// Sorted by path.
static EMBEDDED: &[Embedded] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// Bundles, which a build can lack: see `make vendor`.
const BUNDLES: [(&str, &str); 3] = [
    ("demo/app.js", "the bundle of the demo"),
    ("socket.io/socket.io.esm.min.js", "the Socket.IO client"),
    ("demo/vendor/mediasoup-client.js", "mediasoup-client"),
];

/// For how long a client may use a response without asking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caching {
    /// The client asks each time, and gets 304 if nothing has changed.
    Revalidate,
    /// The path contains a hash of the content.
    Immutable,
}

/// Source of the files.
#[derive(Debug, Clone)]
pub(crate) enum Assets {
    /// From the executable.
    Embedded,
    /// From a checkout of the sources, so that changes show without a build.
    Checkout(Arc<Path>),
}

impl Assets {
    /// Returns the checkout in the working directory if there is one, else what is embedded.
    pub(crate) fn find() -> Self {
        Self::in_folder(Path::new("."))
    }

    fn in_folder(folder: &Path) -> Self {
        let is_checkout = ["client-demo/index.html", "src/http/assets.rs"]
            .iter()
            .all(|file| folder.join(file).is_file());
        if is_checkout { Self::Checkout(folder.into()) } else { Self::Embedded }
    }

    /// Returns the names of bundles that are missing. Without them, parts of the demo do not work.
    pub(crate) fn missing_bundles(&self) -> Vec<&'static str> {
        let is_missing = |path: &str| match self {
            Self::Embedded => find_embedded(path).is_none(),
            Self::Checkout(root) => !source_of(root, path).is_some_and(|file| file.is_file()),
        };
        BUNDLES.iter().filter(|(path, _)| is_missing(path)).map(|(_, name)| *name).collect()
    }

    /// Returns the response for a file, or `None` if there is no such file.
    pub(crate) async fn respond(
        &self,
        path: &str,
        caching: Caching,
        request: &HeaderMap,
    ) -> Option<Response> {
        if !is_plain(path) {
            return None;
        }
        if let Self::Checkout(root) = self
            && let Some(file) = source_of(root, path)
        {
            let content = tokio::fs::read(file).await.ok()?;
            let tag = format!("\"{:016x}\"", hash(&content));
            return Some(response(
                path,
                Caching::Revalidate,
                request,
                &tag,
                Coding::Identity,
                content.into(),
            ));
        }
        let file = find_embedded(path)?;
        let coding = Coding::choose(request, file.gzip.is_some(), file.brotli.is_some());
        let content = match coding {
            Coding::Brotli => file.brotli,
            Coding::Gzip => file.gzip,
            Coding::Identity => None,
        };
        let tag = format!("\"{}{}\"", file.hash, coding.suffix());
        Some(response(
            path,
            caching,
            request,
            &tag,
            coding,
            Bytes::from_static(content.unwrap_or(file.plain)),
        ))
    }
}

fn find_embedded(path: &str) -> Option<&'static Embedded> {
    let index = EMBEDDED.binary_search_by(|file| file.path.cmp(path)).ok()?;
    Some(&EMBEDDED[index])
}

/// Returns the file of a checkout for a path, or `None` if the build generates it.
fn source_of(root: &Path, path: &str) -> Option<PathBuf> {
    let (folder, name) = path.split_once('/')?;
    let folder = match folder {
        "demo" => "client-demo",
        "client" if name == "io.js" => "packages/client/served",
        "client" => "packages/client/src",
        "socket.io" => "client-demo/vendor/socket.io",
        "docs" if name.ends_with("api.json") => "docs",
        "docs" if name == "theme.js" => "client-demo",
        // The build renders the pages and their search index.
        "docs" if matches!(name.rsplit_once('.'), Some((_, "css" | "js"))) => "docs/site",
        _ => return None,
    };
    Some(root.join(folder).join(name))
}

/// Returns whether a path stays in its folder and names no hidden file.
fn is_plain(path: &str) -> bool {
    let is_plain = |name: &str| {
        !name.is_empty()
            && !name.starts_with('.')
            && name != "node_modules"
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter))
    };
    path.split('/').all(is_plain) && content_type(path).is_some()
}

/// Returns the media type of a file that may be served; `None` for other types of files.
fn content_type(path: &str) -> Option<&'static str> {
    let (_, extension) = path.rsplit_once('.')?;
    let name = path.rsplit('/').next()?;
    if ["package.json", "package-lock.json", "tsconfig.json"].contains(&name) {
        return None;
    }
    Some(match extension {
        "css" => "text/css; charset=utf-8",
        "html" => "text/html; charset=utf-8",
        "ico" => "image/x-icon",
        "js" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "ts" => "text/plain; charset=utf-8",
        "webmanifest" => "application/manifest+json",
        _ => return None,
    })
}

fn hash(content: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

fn response(
    path: &str,
    caching: Caching,
    request: &HeaderMap,
    tag: &str,
    coding: Coding,
    content: Bytes,
) -> Response {
    let is_known = request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| known.trim().trim_start_matches("W/") == tag || known.trim() == "*");
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(content))
    };
    let headers = response.headers_mut();
    let caching = match caching {
        Caching::Revalidate => "no-cache",
        Caching::Immutable => "public, max-age=31536000, immutable",
    };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    if !is_known {
        let kind = content_type(path).unwrap_or("application/octet-stream");
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(name) = coding.name() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_files_are_sorted_and_have_hashed_references() {
        assert!(EMBEDDED.is_sorted_by_key(|file| file.path));
        let index = find_embedded("demo/index.html").unwrap();
        let text = std::str::from_utf8(index.plain).unwrap();
        assert!(text.contains(&format!("src=\"/assets/{HASH}/app.js\"")), "{text}");
        assert!(!text.contains("src=\"app.js\""), "{text}");
        // The bundle, not the source.
        let script = std::str::from_utf8(find_embedded("demo/app.js").unwrap().plain).unwrap();
        assert!(!script.contains("./call.js"), "{script}");
        assert!(index.brotli.unwrap().len() < index.gzip.unwrap().len());
    }

    #[test]
    fn paths_outside_and_development_files_are_refused() {
        for path in [
            "demo/../Cargo.toml",
            "demo//x.js",
            "demo/.x.js",
            "demo/x.rs",
            "demo/package.json",
            "demo/a\\b.js",
        ] {
            assert!(!is_plain(path), "{path}");
        }
        assert!(is_plain("demo/index.html"));
    }

    #[test]
    fn a_build_without_bundles_names_them() {
        let folder = std::env::temp_dir().join(format!("parlor-bare-{}", std::process::id()));
        for file in ["client-demo/index.html", "src/http/assets.rs"] {
            let file = folder.join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        let bare = Assets::in_folder(&folder);
        assert!(matches!(bare, Assets::Checkout(_)));
        assert_eq!(
            bare.missing_bundles(),
            ["the bundle of the demo", "the Socket.IO client", "mediasoup-client"]
        );
        std::fs::remove_dir_all(folder).unwrap();
        assert_eq!(Assets::Embedded.missing_bundles(), [""; 0]);
    }
}
