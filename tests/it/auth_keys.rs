//! Verification of tokens: settings, key sets that change, the token of `parlor token`, and secrets
//! that stay out of the log.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parlor::auth::{Key, KeySet, Keys, Verifier};
use parlor::id::RoomId;
use parlor::room::Metadata;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::TestServer;
use crate::support::tokens::{Issuer, SECRET, connect_socketio};

/// A temporary file, which is removed after the test.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let file = Self(
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id())),
        );
        file.replace(text);
        file
    }

    /// Replaces the file atomically: writes another file, and renames it.
    fn replace(&self, text: &str) {
        let beside = self.0.with_extension("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, &self.0).unwrap();
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

fn set(issuers: &[&Issuer]) -> String {
    json!({ "keys": issuers.iter().map(|issuer| issuer.jwk()).collect::<Vec<_>>() }).to_string()
}

async fn accepts(server: &TestServer, issuer: &Issuer) -> bool {
    connect_socketio(server, Some(&issuer.token("ann", &json!({})))).await.is_ok()
}

/// Waits until a server has reloaded a file.
async fn wait_until_accepted(server: &TestServer, issuer: &Issuer) {
    let waiting = async { while !accepts(server, issuer).await {} };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("the file is read again");
}

#[tokio::test]
async fn token_selects_its_key_in_the_set() {
    let keys = [Issuer::rsa().named("r"), Issuer::ec().named("c"), Issuer::ed().named("d")];
    let file = File::new("named.json", &set(&keys.each_ref()));
    let server = TestServer::with(&[&format!("--jwt-jwks={}", file.path())]);
    let [rsa, ec, ed] = keys;
    for issuer in [&rsa, &ec, &ed] {
        assert!(accepts(&server, issuer).await, "{:?}", issuer.algorithm);
    }
    for (what, issuer) in [
        ("a name that is not in the set", rsa.named("x")),
        ("the name of another key", ec.named("d")),
        ("no name, where there are several", ed.nameless()),
        ("the name of a key, and a secret", Issuer::secret(SECRET).named("r")),
    ] {
        assert!(!accepts(&server, &issuer).await, "{what}");
    }
    server.finish().await;
}

#[tokio::test]
async fn key_set_is_reloaded_when_it_changes() {
    let (old, new, newest) = (Issuer::ed().named("old"), Issuer::ec().named("new"), Issuer::ed());
    let file = File::new("rotated.json", &set(&[&old]));
    let server = TestServer::with(&[&format!("--jwt-jwks={}", file.path())]);
    assert!(accepts(&server, &old).await);
    assert!(!accepts(&server, &new).await);
    file.replace(&set(&[&old, &new]));
    wait_until_accepted(&server, &new).await;
    assert!(accepts(&server, &old).await);
    file.replace(&set(&[&newest]));
    // A set with a single key needs no key id.
    wait_until_accepted(&server, &newest).await;
    assert!(!accepts(&server, &old).await);
    server.finish().await;
}

#[test]
fn invalid_key_set_changes_nothing() {
    let (old, new) = (Issuer::ed().named("old"), Issuer::ec().named("new"));
    let file = File::new("broken.json", &set(&[&old]));
    let keys = Arc::new(KeySet::read(file.path().as_ref()).unwrap());
    let verifier = Verifier::new(Keys::Set(Arc::clone(&keys)), None, Vec::new());
    let is_accepted = |issuer: &Issuer| {
        verifier.verify(&issuer.token("ann", &json!({})), SystemTime::now()).is_ok()
    };
    for broken in [
        "",
        "{",
        r#"{"keys":[]}"#,
        r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#,
        r#"{"keys":[{"kty":"odd"}]}"#,
    ] {
        file.replace(broken);
        keys.refresh();
        assert!(is_accepted(&old), "{broken}");
    }
    std::fs::remove_file(&file.0).unwrap();
    keys.refresh();
    assert!(is_accepted(&old));
    file.replace(&set(&[&new]));
    keys.refresh();
    assert!(is_accepted(&new) && !is_accepted(&old));
}

#[tokio::test]
async fn unusable_keys_do_not_invalidate_a_set() {
    let issuer = Issuer::ec().named("good");
    let mut for_encryption = Issuer::rsa().named("enc").jwk();
    for_encryption["use"] = json!("enc");
    let odd = json!({ "keys": [
        { "kty": "odd" }, { "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA" }, { "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" },
        for_encryption, issuer.jwk(),
    ] });
    let file = File::new("odd.json", &odd.to_string());
    let server = TestServer::with(&[&format!("--jwt-jwks={}", file.path())]);
    assert!(accepts(&server, &issuer).await);
    server.finish().await;
}

fn parlor(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parlor"));
    command
        .env_clear()
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .args(arguments)
        .envs(environment.iter().copied());
    command.output().unwrap()
}

#[test]
fn contradicting_settings_prevent_the_start_with_one_line() {
    let (rsa, ec) = (Issuer::rsa(), Issuer::ec());
    let key = File::new("key.pem", &rsa.public);
    let empty = File::new("empty.json", r#"{"keys":[]}"#);
    let secret = File::new("secret.json", r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#);
    let private =
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----";
    for (environment, named) in [
        (vec![("JWT_SECRET", SECRET), ("JWT_PUBLIC_KEY", key.path())], "JWT_PUBLIC_KEY"),
        (vec![("JWT_JWKS", empty.path()), ("JWT_SECRET", SECRET)], "JWT_JWKS"),
        (vec![("JWT_JWKS", empty.path())], "JWT_JWKS"),
        (vec![("JWT_JWKS", secret.path())], "JWT_SECRET"),
        (vec![("JWT_JWKS", "/nowhere/at/all")], "No such file"),
        (vec![("JWT_PUBLIC_KEY", "/nowhere/at/all")], "No such file"),
        (vec![("JWT_PUBLIC_KEY", private)], "private"),
        (vec![("JWT_PUBLIC_KEY", empty.path())], "P-256"),
        (vec![("JWT_ISSUER", "me")], "JWT_SECRET"),
        (vec![("TURN_SECRET", "x")], "TURN_URLS"),
        (vec![("TURN_URLS", "turn:t")], "TURN_SECRET"),
        (vec![("TURN_URLS", "http://t"), ("TURN_SECRET", "x")], "TURN_URLS"),
        (vec![("ICE_SERVERS", "[{}]")], "ICE_SERVERS"),
    ] {
        let output = parlor(&["check"], &environment);
        let printed = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{environment:?}: {printed}");
        assert!(
            printed.starts_with("parlor: ")
                && printed.lines().count() == 1
                && printed.contains(named),
            "{printed}"
        );
        assert!(!printed.contains(SECRET) && !printed.contains("MC4CAQ"), "{printed}");
    }
    // As a flag: an empty variable counts as unset.
    let empty = parlor(&["check", "--jwt-secret="], &[]);
    assert_eq!(empty.status.code(), Some(2), "{empty:?}");
    // PEM itself, with line breaks or with the `\n` of many files.
    for pem in [ec.public.clone(), ec.public.replace('\n', "\\n")] {
        assert_eq!(parlor(&["check"], &[("JWT_PUBLIC_KEY", &pem)]).status.code(), Some(0));
    }
    let warned = parlor(
        &["check"],
        &[("JWT_SECRET", "short"), ("TURN_SECRET", "hunter2"), ("TURN_URLS", "turn:t")],
    );
    let printed = String::from_utf8(warned.stdout).unwrap();
    assert!(
        printed.contains("JWT_SECRET has less than 32 bytes") && !printed.contains("hunter2"),
        "{printed}"
    );
}

#[tokio::test]
async fn token_of_the_token_command_is_accepted() {
    let environment = [("JWT_SECRET", SECRET), ("JWT_ISSUER", "me"), ("JWT_AUDIENCE", "calls")];
    let output = parlor(
        &["token", "--sub", "ann", "--room", "standup", "--ttl", "60", "--name", "Ann"],
        &environment,
    );
    assert!(output.status.success(), "{output:?}");
    let token = String::from_utf8(output.stdout).unwrap();
    let server = TestServer::with(&[
        &format!("--jwt-secret={SECRET}"),
        "--jwt-issuer=me",
        "--jwt-audience=calls",
    ]);
    let socket = connect_socketio(&server, Some(token.trim())).await.unwrap();
    drop(socket);
    server.finish().await;

    let key = File::new("only-public.pem", &Issuer::ec().public);
    for (arguments, environment, named) in [
        (vec!["token", "--sub", "ann"], vec![("JWT_PUBLIC_KEY", key.path())], "JWT_SECRET"),
        (vec!["token"], vec![("JWT_SECRET", SECRET)], "--sub"),
        (vec!["token", "--sub", " "], vec![("JWT_SECRET", SECRET)], "--sub"),
        (vec!["token", "--sub", "ann", "--ttl", "long"], vec![("JWT_SECRET", SECRET)], "--ttl"),
        (vec!["check", "--sub", "ann"], vec![("JWT_SECRET", SECRET)], "--sub"),
    ] {
        let output = parlor(&arguments, &environment);
        let printed = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && printed.lines().count() == 1 && printed.contains(named),
            "{arguments:?}: {printed}"
        );
    }
}

/// The log contains no token, wherever it was sent and however it was refused.
#[tokio::test]
async fn no_token_and_no_secret_is_logged() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_parlor"))
        .env_clear()
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .envs([
            ("HOST", "127.0.0.1"),
            ("PORT", "0"),
            ("LOG_LEVEL", "trace"),
            ("JWT_SECRET", SECRET),
        ])
        .envs([
            ("TURN_URLS", "turn:t"),
            ("TURN_SECRET", "a secret of the turn servers"),
            ("LOG_FORMAT", "json"),
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    std::io::BufRead::read_line(&mut out, &mut first).unwrap();
    let reader = std::thread::spawn(move || {
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        rest
    });
    let started: serde_json::Value = serde_json::from_str(&first).unwrap();
    let address: std::net::SocketAddr = started["address"].as_str().unwrap().parse().unwrap();

    let issuer = Issuer::secret(SECRET);
    let good = issuer.token("ann", &json!({}));
    let bad = [
        Issuer::secret("x").token("ann", &json!({})),
        issuer.token("ann", &json!({ "exp": 1 })),
        "x.y-SENTINEL.z".to_owned(),
    ];
    let http = reqwest::Client::new();
    for token in bad.iter().chain([&good]) {
        for path in [
            "/socket.io/?EIO=4&transport=polling",
            "/socket.io/?EIO=4&transport=websocket",
            "/ws?",
            "/ws/r?",
            "/signal?sessionId=r",
        ] {
            tokio_tungstenite::connect_async(format!("ws://{address}{path}&token={token}"))
                .await
                .ok();
        }
        let url = format!("http://{address}/socket.io/?EIO=4&transport=polling");
        let open = http
            .get(format!("{url}&token={token}"))
            .bearer_auth(token)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
        let url = format!("{url}&sid={}", open["sid"].as_str().unwrap());
        http.post(&url).body(format!("40{}", json!({ "token": token }))).send().await.unwrap();
        let again =
            format!(r#"420["join-room","r"]{}42["auth",{}]"#, '\u{1e}', json!({ "token": token }));
        http.post(&url).body(again).send().await.unwrap();
        http.get(&url).send().await.unwrap();
        http.get(format!("http://{address}/api/ice-servers?token={token}"))
            .bearer_auth(token)
            .send()
            .await
            .unwrap();
    }
    Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap();
    child.wait().unwrap();
    let mut log = reader.join().unwrap();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("token refused") && log.contains("joined"), "{log}");
    for token in bad.iter().chain([&good]) {
        // None of its three parts; the first is the same for all tokens.
        for part in token.split('.').skip(1).filter(|part| part.len() > 4) {
            assert!(!log.contains(part), "{part} in {log}");
        }
    }
    assert!(!log.contains(SECRET) && !log.contains("a secret of the turn servers"), "{log}");
}

/// Returns any JSON that a claim may have.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![Just("*".to_owned()), ".*"].prop_map(Value::from),
    ];
    let key = prop_oneof![
        prop::sample::select(vec!["name", "displayName", "sub", "role"]).prop_map(str::to_owned),
        ".*"
    ];
    leaf.prop_recursive(3, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(key.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// The issuer may sign anything: it is accepted or refused, and peers get JSON in which the
    /// token's claims take precedence.
    #[test]
    fn arbitrary_claims_do_not_panic(
        claims in prop::collection::hash_map(
            prop::sample::select(vec!["exp", "nbf", "iat", "room", "rooms", "name", "metadata", "capacity"]), any_json(), 0..4),
        printed in prop::collection::hash_map(prop::sample::select(vec!["name", "role", "sub", "x"]), any_json(), 0..4),
        with_subject in any::<bool>(),
    ) {
        let issuer = Issuer::secret(SECRET);
        let verifier = Verifier::new(Keys::Secret(Key::secret(SECRET)), None, Vec::new());
        let claims = serde_json::to_value(claims).unwrap();
        let Ok(grant) = verifier.verify(&issuer.token("ann", &claims), SystemTime::now()) else { return Ok(()) };
        _ = grant.allows(&RoomId::new("r").unwrap());
        let printed = serde_json::to_string(&printed).unwrap();
        let metadata = grant.metadata(&Metadata::new(&printed[1..printed.len() - 1]), with_subject);
        let received: Value = serde_json::from_str(&format!("{{{}}}", metadata.as_str())).unwrap();
        if let Some(name) = claims["name"].as_str() {
            assert_eq!(received["name"], name);
        }
        assert_eq!(received["sub"], if with_subject { json!("ann") } else { Value::Null });
    }
}
