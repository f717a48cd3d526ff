//! Tests of parsing `CLIENT_URL`, and of matching origins.

use super::*;

fn allows(setting: &str, origin: &str) -> bool {
    client_url(setting).unwrap().allows(origin)
}

#[test]
fn entries_are_normalized_as_browsers_send_them() {
    let list = client_url(
        "https://App.Example.com/, http://localhost:80,capacitor://localhost , http://[0:0::1]:3000",
    );
    let expected =
        "https://app.example.com,http://localhost,capacitor://localhost,http://[::1]:3000";
    assert_eq!(list.unwrap().to_string(), expected);
    assert_eq!(client_url(" * "), Ok(ClientUrl::Any));
    assert_eq!(client_url("file:///, null").unwrap().to_string(), "file://,null");
}

#[test]
fn entry_that_can_never_match_is_refused() {
    for entry in [
        "",
        ",",
        "app.example.com",
        "https://a.example/path",
        "*,https://a.example",
        "https://u@a.example",
        "https://a b",
        "https://a.example?x",
        "https://a.example#x",
        "https://",
        "//a.example",
        "wss://a.example",
        "https://*a.example",
        "https://a*.example",
        "https://a..example",
        "https://.example",
        "https://b\u{fc}cher.example",
        "https://a.example:0",
        "https://a.example:65536",
        "https://a.example:",
        "https://a.example:8*",
        "*://a.example",
        "https://127.1",
        "https://2130706433",
        "https://0x7f.1",
        "https://[::1",
        "https://[x]",
        "https://[::1]x",
        "file://server",
        "file:///path",
        "data:",
        "about:blank",
        "1http://a.example",
        "https://a%20b",
        "https://a\\b",
        "Null",
    ] {
        assert!(client_url(entry).is_err(), "{entry}");
    }
}

#[test]
fn star_matches_one_label_or_any_port() {
    assert!(allows("https://*.example.com", "https://pr-17.example.com"));
    for origin in [
        "https://example.com",
        "https://a.b.example.com",
        "http://a.example.com",
        "https://a.example.com:8443",
        "https://.example.com",
        "https://a.example.com.evil.example",
        "https://evil/.example.com",
        "https://a.example.com:443",
        "https://A.example.com",
        "https://evil#.example.com",
    ] {
        assert!(!allows("https://*.example.com", origin), "{origin}");
    }
    for origin in ["http://localhost", "http://localhost:5173", "http://localhost:65535"] {
        assert!(allows("http://localhost:*", origin), "{origin}");
    }
    for origin in [
        "https://localhost:5173",
        "http://localhost:",
        "http://localhost:05173",
        "http://localhost:x",
        "http://localhost:80",
    ] {
        assert!(!allows("http://localhost:*", origin), "{origin}");
    }
    assert!(allows("https://*.*.example.com:*", "https://a.b.example.com:1"));
}

#[test]
fn pages_without_a_host_can_be_listed() {
    assert!(allows("file://", "file://") && allows("null", "null") && allows("*", "file://"));
    assert!(
        !allows("file://", "null")
            && !allows("null", "file://")
            && !allows("http://localhost:*", "null")
    );
    assert!(
        allows("capacitor://localhost", "capacitor://localhost") && allows("app://.", "app://.")
    );
}

#[test]
fn development_allows_only_this_machine() {
    let default = ClientUrl::default_for(false);
    for origin in
        ["http://localhost", "https://localhost:8443", "http://127.0.0.1:5173", "http://[::1]:3000"]
    {
        assert!(default.allows(origin), "{origin}");
    }
    for origin in [
        "http://127.0.0.2:1",
        "http://localhost.example",
        "http://192.168.0.2:3000",
        "null",
        "file://",
    ] {
        assert!(!default.allows(origin), "{origin}");
    }
    assert_eq!(ClientUrl::default_for(true).to_string(), LOCALHOST_3000);
}
