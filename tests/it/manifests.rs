//! The manifests of everything that is released name the same version, repository and maintainers.

use std::fs;
use std::path::Path;

/// Files with the version of the server.
const VERSIONED: [&str; 5] = [
    "Cargo.toml",
    "clients/python/pyproject.toml",
    "packages/client/package.json",
    "packages/react/package.json",
    "packaging/helm/parlor/Chart.yaml",
];

/// Files with the address of the repository.
const LINKING: [&str; 6] = [
    "Cargo.toml",
    "clients/python/pyproject.toml",
    "packages/client/package.json",
    "packages/react/package.json",
    "packaging/helm/parlor/Chart.yaml",
    "packaging/parlor.env",
];

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// Returns the value of the first line with the key `version`, in any of the file formats.
fn version(text: &str) -> String {
    let lines =
        text.lines().filter_map(|line| line.trim().trim_start_matches('"').strip_prefix("version"));
    let mut values =
        lines.filter_map(|rest| rest.trim_start_matches(['"', ' ']).strip_prefix([':', '=']));
    values.next().unwrap_or_default().trim().trim_matches(['"', ',']).to_owned()
}

#[test]
fn versions_are_the_same() {
    for file in VERSIONED {
        assert_eq!(version(&read(file)), env!("CARGO_PKG_VERSION"), "{file}");
    }
}

#[test]
fn repositories_are_the_same() {
    let repository = env!("CARGO_PKG_REPOSITORY");
    let host = repository.rsplitn(3, '/').last().unwrap();
    for file in LINKING {
        let text = read(file);
        let named = text.matches(repository).count();
        assert!(
            named > 0 && text.matches(host).count() == named,
            "{file} should name {repository} only"
        );
    }
    assert_eq!(env!("CARGO_PKG_HOMEPAGE"), repository);
}

#[test]
fn licenses_have_the_same_holder_as_the_debian_package() {
    let copyright =
        read("LICENSE").lines().find(|line| line.starts_with("Copyright")).unwrap().to_owned();
    for file in ["clients/python/LICENSE", "packages/client/LICENSE", "packages/react/LICENSE"] {
        assert!(read(file).contains(&copyright), "{file}");
    }
    let holder = copyright.strip_prefix("Copyright (c) ").unwrap();
    assert!(read("Cargo.toml").contains(&format!("copyright = \"{holder}\"")), "{holder}");
}
