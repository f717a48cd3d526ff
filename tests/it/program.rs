//! The program: start, output and exit.

use std::process::Output;

use crate::support::Client;
use crate::support::program::{Program, parlor};

/// Returns a free port of this machine.
const HERE: [(&str, &str); 2] = [("HOST", "127.0.0.1"), ("PORT", "0")];

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    parlor().args(arguments).envs(environment.iter().copied()).output().unwrap()
}

fn start(environment: &[(&str, &str)]) -> Program {
    let mut command = parlor();
    command.envs(HERE).envs(environment.iter().copied());
    Program::start(command)
}

#[test]
fn invalid_setting_prevents_the_start_with_one_line() {
    for (arguments, environment, named) in [
        (vec![], vec![("PORT", "70000")], "PORT"),
        (vec![], vec![("MAX_ROOM_SIZE", "many")], "MAX_ROOM_SIZE"),
        (vec![], vec![("CLIENT_URL", "app.example.com")], "CLIENT_URL"),
        (vec![], vec![("LOG_LEVEL", "loud")], "LOG_LEVEL"),
        (vec!["--demo=perhaps"], vec![], "DEMO"),
        (vec!["--max-rooms"], vec![], "--max-rooms"),
        (vec!["--such-flag"], vec![], "--such-flag"),
        (vec!["dance"], vec![], "dance"),
        (vec![], vec![("NODE_ENV", "production"), ("HOST", "127.0.0.1")], "HOST=127.0.0.1"),
    ] {
        let output = run(&arguments, &environment);
        let printed = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{printed}");
        assert!(printed.trim_end().lines().count() == 1 && printed.contains(named), "{printed}");
        assert!(output.stdout.is_empty());
    }
}

/// Returns a folder in which even root cannot create files.
const READ_ONLY: &str = "/sys";

#[test]
fn unusable_file_or_folder_is_reported_in_one_line() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("bad-input");
    std::fs::create_dir_all(&folder).unwrap();
    let in_folder = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).unwrap();
        folder.join(name).to_str().unwrap().to_owned()
    };
    let unknown = in_folder("unknown.toml", "port = 0\nmax_romms = 3\n");
    let certificate = in_folder("certificate.pem", "");
    let trace = in_folder("trace.jsonl", "no trace\n");
    let folder = folder.to_str().unwrap().to_owned();
    let upstream = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = format!("http://{}", upstream.local_addr().unwrap());
    let unwritable = format!("{READ_ONLY}/profile.toml");
    let record = ["profile", "record", "--port=0", "--upstream", &upstream];
    for (arguments, code, named) in [
        (vec!["--config", &unknown], 2, "max_romms is not a setting; did you mean max_rooms?"),
        (vec!["--config", &folder], 2, "cannot read the settings file"),
        (vec!["--config", "/nowhere/parlor.toml"], 2, "/nowhere/parlor.toml: No such file"),
        (vec!["--tls-cert", &folder, "--tls-key", &certificate], 1, "Is a directory"),
        (vec!["--tls-cert", &certificate, "--tls-key", &certificate], 1, "holds no certificate"),
        (vec!["--socketio-profiles", &folder], 2, "SOCKETIO_PROFILES"),
        (vec!["profile", "infer", &trace], 1, "trace.jsonl"),
        (vec!["profile", "infer", &folder], 1, "Is a directory"),
        ([&record[..], &["--out", &unwritable]].concat(), 1, "Permission denied"),
        ([&record[..], &["--out", "/nowhere/profile.toml"]].concat(), 1, "No such file"),
    ] {
        let output = run(&arguments, &[("HOST", "127.0.0.1")]);
        let printed = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {printed}");
        assert!(
            printed.trim_end().lines().count() == 1 && printed.contains(named),
            "{arguments:?}: {printed}"
        );
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    let output = run(&[], &[("API_TOKEN_FILE", &folder)]);
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{printed}");
    assert!(
        printed.trim_end().lines().count() == 1 && printed.contains("API_TOKEN_FILE"),
        "{printed}"
    );
}

#[test]
fn occupied_port_is_reported_in_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(&["--host=127.0.0.1", "--port", &port], &[]);
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        printed.trim_end().lines().count() == 1
            && printed.contains(&port)
            && printed.contains("in use"),
        "{printed}"
    );
    let address = format!("127.0.0.1:{port}");
    let output = run(&["--host=127.0.0.1", "--port=0", "--metrics-addr", &address], &[]);
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        printed.contains(&format!("METRICS_ADDR={address}")) && printed.contains("in use"),
        "{printed}"
    );
}

#[tokio::test]
async fn unread_log_does_not_block_the_server() {
    let mut command = parlor();
    command.envs(HERE).env("LOG_LEVEL", "debug");
    let running = Program::start_unread(command);
    // Many more lines than the pipe holds.
    for _ in 0..300 {
        let mut ann = Client::connect_at(running.address()).await;
        assert_eq!(
            ann.ask("join-room", serde_json::json!("a room with a long name ".repeat(5))).await["ok"],
            true
        );
        ann.close().await;
    }
}

#[test]
fn check_prints_the_effective_settings_without_secrets() {
    let output =
        run(&["check", "--port", "81"], &[("API_TOKEN", "hunter2"), ("MAX_ROOMSIZE", "3")]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(printed.contains("PORT=81\n") && printed.contains("API_TOKEN=********\n"), "{printed}");
    assert!(
        printed.contains("did you mean MAX_ROOM_SIZE?") && !printed.contains("hunter2"),
        "{printed}"
    );
    assert_eq!(run(&["check"], &[("PORT", "x")]).status.code(), Some(2));
}

#[test]
fn each_command_has_its_own_help() {
    let help = |arguments: &[&str]| {
        let output = run(arguments, &[]);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let root = help(&["help"]);
    for command in ["serve", "check", "token", "health", "profile", "completions", "man"] {
        assert!(root.contains(&format!("\n  {command} ")), "{command}\n{root}");
    }
    let token = help(&["token", "--help"]);
    assert!(
        token.contains("--sub <ID>")
            && token.contains("--jwt-secret")
            && !token.contains("--max-rooms"),
        "{token}"
    );
    assert_eq!(help(&["help", "token"]), token);
    assert!(help(&["health", "--help"]).contains("--port"));
    assert!(help(&["profile", "record", "--help"]).contains("--upstream"));
    assert!(help(&["completions", "bash"]).contains("--max-room-size"));
    assert!(help(&["man"]).starts_with(".ie"), "{}", help(&["man"]));
    assert!(help(&["--version"]).starts_with("parlor "));
}

#[test]
fn help_lists_every_setting_under_a_heading() {
    let printed = String::from_utf8(run(&["--help"], &[]).stdout).unwrap();
    for part in
        ["Where to listen:", "Rooms:", "Limits:", "--max-room-size <COUNT>", "MAX_ROOM_SIZE"]
    {
        assert!(printed.contains(part), "{part}\n{printed}");
    }
}

#[test]
fn unreachable_announced_address_causes_a_warning() {
    let running = start(&[("SFU_ANNOUNCED_ADDRESS", "127.0.0.1,2001:db8::1")]);
    let warning = running.until_printed("SFU_ANNOUNCED_ADDRESS");
    assert!(warning.contains("WARN") && warning.contains("has 2001:db8::1, but"), "{warning}");
    running.until_printed("ready");
    assert_eq!(running.printed("SFU_ANNOUNCED_ADDRESS"), 1);
    running.stop();
}

#[test]
fn development_certificate_is_refused_in_production() {
    let running = start(&[("DEV_TLS", "true")]);
    assert!(
        running
            .until_printed("open")
            .contains(&format!("https://localhost:{}/?room=try", running.address().port()))
    );
    let port = running.address().port().to_string();
    assert_eq!(run(&["health", "--port", &port, "--dev-tls"], &[]).status.code(), Some(0));
    running.stop();
    let output = run(&["--dev-tls", "--node-env=production"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("DEV_TLS is for development"));
}

#[test]
fn program_serves_prints_its_address_and_ends_on_sigterm() {
    let running = start(&[]);
    let port = running.address().port().to_string();
    assert_eq!(run(&["health", "--port", &port], &[]).status.code(), Some(0));
    let rest = running.stop();
    assert!(rest.contains("allowed origins  http://localhost:*"), "{rest}");
    let output = run(&["health", "--port", &port], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("no response from"));
}

#[tokio::test]
async fn log_has_a_line_per_connection_event_and_no_bodies() {
    use serde_json::json;

    let running = start(&[("LOG_LEVEL", "trace"), ("NODE_ENV", "production"), ("SFU", "off")]);
    let mut ann = Client::connect_at(running.address()).await;
    ann.ask("join-room", json!({ "roomId": "r", "userId": "ann", "name": "the-name" })).await;
    ann.ask("offer", json!({ "offer": "the-body" })).await;
    ann.ask("leave-room", json!("r")).await;
    let (id, sid) = (ann.id.clone(), ann.sid.clone());
    ann.close().await;
    let log = running.stop();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (message, more) in [
        ("connected", json!({ "dialect": "socketio" })),
        ("joined", json!({ "room": "r", "peer": "ann" })),
        ("left", json!({ "room": "r", "peer": "ann", "reason": "left" })),
        ("disconnected", json!({ "reason": "disconnected" })),
    ] {
        let of_ann: Vec<_> = lines
            .iter()
            .filter(|line| line["message"] == message && line["connection"] == id)
            .collect();
        assert_eq!(of_ann.len(), 1, "{message}\n{log}");
        for (key, value) in more.as_object().unwrap() {
            assert_eq!(&of_ann[0][key], value, "{message}\n{log}");
        }
    }
    for secret in ["the-body", "the-name", &sid] {
        assert!(!log.contains(secret), "{secret}\n{log}");
    }
}

#[test]
fn production_logs_json_and_warns_about_exposures() {
    let environment =
        [("NODE_ENV", "production"), ("LOG_LEVEL", "warn"), ("CLIENT_URL", "*"), ("SFU", "off")];
    let running = start(&environment);
    let first: serde_json::Value =
        serde_json::from_str(&running.until_printed("listening on")).unwrap();
    assert!(
        first["message"].as_str().unwrap().starts_with("listening on http://127.0.0.1:"),
        "at every level"
    );
    let rest = running.stop();
    for line in rest.lines() {
        serde_json::from_str::<serde_json::Value>(line)
            .unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    assert!(rest.contains("CLIENT_URL=*") && rest.contains("API_TOKEN is not set"), "{rest}");
}

#[test]
fn settings_are_read_from_a_file_in_the_working_directory() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("with-dot-env");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(".env"), "PORT=81\nMAX_ROOM_SIZE=7\n").unwrap();
    let output = parlor().arg("check").env("PORT", "82").current_dir(&folder).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("PORT=82\n") && printed.contains("MAX_ROOM_SIZE=7\n"), "{printed}");
    std::fs::write(folder.join("parlor.toml"), "port = 83\nmax_rooms = 9\n").unwrap();
    std::fs::write(folder.join("other.toml"), "max_rooms = 10\nprot = 1\n").unwrap();
    let output_of = |arguments: &[&str]| {
        let output = parlor().args(arguments).current_dir(&folder).output().unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    let merged = output_of(&["check"]);
    assert!(merged.contains("PORT=81\n") && merged.contains("MAX_ROOMS=9\n"), "{merged}");
    assert_eq!(
        output_of(&["check", "--config=other.toml"]),
        "parlor: other.toml: prot is not a setting; did you mean port?\n"
    );
    std::fs::remove_file(folder.join("parlor.toml")).unwrap();
    std::fs::write(folder.join(".env"), "PORT=\"81\n").unwrap();
    let output = parlor().arg("check").current_dir(&folder).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
