//! Tests of the precedence of sources, and of the explanations of invalid settings.

use super::*;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn with(
    flags: &[&str],
    environment: &[(&str, &str)],
    dot_env: &[(&str, &str)],
) -> Result<Loaded, Invalid> {
    load_from(flags.iter().map(Into::into), map(environment), map(dot_env))
}

#[test]
fn flags_override_the_environment_which_overrides_dot_env() {
    let port = |loaded: Result<Loaded, Invalid>| loaded.unwrap().config.network.port;
    assert_eq!(port(with(&[], &[], &[])), 4000);
    assert_eq!(port(with(&[], &[], &[("PORT", "1")])), 1);
    assert_eq!(port(with(&[], &[("PORT", "2")], &[("PORT", "1")])), 2);
    assert_eq!(port(with(&["--port", "3"], &[("PORT", "2")], &[("PORT", "1")])), 3);
    assert_eq!(port(with(&[], &[("WS_PORT", "9")], &[])), 9);
    assert_eq!(port(with(&[], &[("WS_PORT", "9"), ("PORT", "2")], &[])), 2);
    assert_eq!(port(with(&["check"], &[("PORT", "")], &[])), 4000);
}

#[test]
fn invalid_value_is_explained_in_one_line() {
    let message = |flags: &[&str], environment: &[(&str, &str)]| {
        let invalid = with(flags, environment, &[]).unwrap_err();
        assert_eq!(invalid.exit_code, 2);
        assert!(!invalid.message.contains('\n'), "{}", invalid.message);
        invalid.message
    };
    assert_eq!(
        message(&[], &[("PORT", "abc")]),
        r#"parlor: PORT="abc" is not accepted; it takes a whole number from 0 to 65535 (--port)"#
    );
    assert_eq!(
        message(&["--node-env=live"], &[]),
        r#"parlor: NODE_ENV="live" is not accepted; it takes development, test, production (--node-env)"#
    );
    assert_eq!(
        message(&["--prot", "1"], &[]),
        "parlor: there is no flag --prot; did you mean --port?"
    );
    assert_eq!(
        message(&["serv"], &[]),
        r#"parlor: there is no command "serv"; did you mean serve?"#
    );
    assert_eq!(
        message(&["dance"], &[]),
        r#"parlor: there is no command "dance"; `parlor help` lists them all"#
    );
    assert_eq!(
        message(&["--sub", "ann"], &[]).split(';').next(),
        Some("parlor: there is no flag --sub")
    );
    assert_eq!(
        message(&["check", "x"], &[]),
        r#"parlor: unexpected argument "x"; `parlor help` lists the commands"#
    );
    assert!(message(&["--demo=maybe"], &[]).contains("true or false"));
    assert!(
        message(&[], &[("MAX_METADATA_BYTES", "8192"), ("MAX_MESSAGE_BYTES", "4096")])
            .contains("MAX_METADATA_BYTES")
    );
}

#[test]
fn misspelt_variable_causes_a_warning() {
    let loaded = with(&[], &[("MAX_ROOMSIZE", "5"), ("PATH", "/bin"), ("POST", "1")], &[]).unwrap();
    assert_eq!(loaded.warnings.len(), 2, "{:?}", loaded.warnings);
    assert!(loaded.warnings.iter().any(|warning| warning.contains("did you mean PORT?")));
    assert!(loaded.warnings.iter().any(|warning| warning.contains("did you mean MAX_ROOM_SIZE?")));
}

#[test]
fn command_may_precede_or_follow_its_flags() {
    let read = |flags: &[&str]| {
        with(flags, &[], &[]).map(|loaded| (loaded.config.action, loaded.config.network.host))
    };
    assert_eq!(read(&["check", "--host", "a"]).unwrap(), (Action::Check, "a".to_owned()));
    assert_eq!(read(&["--host", "a", "check"]).unwrap(), (Action::Check, "a".to_owned()));
    assert_eq!(read(&["--host", "check", "check"]).unwrap(), (Action::Check, "check".to_owned()));
    assert_eq!(read(&["--host=a", "serve", "--host=b"]).unwrap(), (Action::Serve, "b".to_owned()));
    let token = with(&["token", "--sub", "ann", "--port=1"], &[], &[]).unwrap().config.token;
    assert_eq!(token.sub.unwrap().as_str(), "ann");
}

#[test]
fn secrets_are_read_from_files() {
    let path = std::env::temp_dir().join(format!("parlor-secret-{}", std::process::id()));
    std::fs::write(&path, "hunter2\n").unwrap();
    let file = path.to_str().unwrap();
    let loaded = with(&[], &[("API_TOKEN_FILE", file)], &[]).unwrap();
    assert_eq!(loaded.config.http.api_token.unwrap().as_str(), "hunter2");
    assert_eq!(loaded.warnings, [""; 0]);
    for both in [
        with(&[], &[("API_TOKEN_FILE", file), ("API_TOKEN", "x")], &[]),
        with(&["--api-token=x"], &[], &[("API_TOKEN_FILE", file)]),
    ] {
        assert!(both.unwrap_err().message.contains("API_TOKEN and API_TOKEN_FILE are both set"));
    }
    std::fs::remove_file(&path).unwrap();
    let missing = with(&[], &[("API_TOKEN_FILE", file)], &[]).unwrap_err().message;
    assert!(missing.contains("API_TOKEN_FILE=") && missing.contains("cannot be read"), "{missing}");
}

#[test]
fn passwords_of_addresses_are_masked() {
    for (value, masked) in [
        ("redis://u:p@h:1/0", "redis://u:********@h:1/0"),
        ("redis://:p@h", "redis://:********@h"),
        ("a,redis://u:p@ss@h,b", "a,redis://u:********@h,b"),
        ("https://app.example.com", "https://app.example.com"),
        ("turn:t.example?transport=udp", "turn:t.example?transport=udp"),
    ] {
        assert_eq!(without_password(value), masked);
    }
}

#[test]
fn secrets_are_masked() {
    let loaded = with(
        &[],
        &[
            ("API_TOKEN", "hunter2"),
            ("JWT_SECRET", "hunter2"),
            ("ICE_SERVERS", r#"[{"urls":"turn:t","credential":"hunter2"}]"#),
        ],
        &[],
    )
    .unwrap();
    assert!(!format!("{loaded:?}").contains("hunter2"));
    assert!(loaded.effective.contains(&("API_TOKEN".to_owned(), "********".to_owned())));
}

#[test]
fn lists_are_shown_as_they_are_written() {
    let list = ("SFU_ANNOUNCED_ADDRESS", "203.0.113.7,10.0.0.5:500");
    let loaded = with(&[], &[list], &[]).unwrap();
    assert!(
        loaded.effective.contains(&(list.0.to_owned(), list.1.to_owned())),
        "{:?}",
        loaded.effective
    );
}
