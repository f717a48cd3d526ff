//! The environment of a measurement: machine, versions, settings.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use crate::server::{FLAGS, Programs, peers, root};

/// Returns names and values in display order, including the versions of other servers if they were
/// measured.
pub(crate) fn all(programs: &Programs, has_peers: bool) -> anyhow::Result<Vec<(String, String)>> {
    let commit = output("git", &["describe", "--always", "--dirty"])
        .unwrap_or_else(|_| "not from git".to_owned());
    let mut all = vec![
        ("command", std::env::args().skip(1).collect::<Vec<_>>().join(" ")),
        ("date", output("date", &["-u", "+%F"])?),
        ("machine", machine()?),
        (
            "its load before",
            fs::read_to_string("/proc/loadavg")?.split(' ').next().unwrap_or_default().to_owned(),
        ),
        ("system", format!("{}, Linux {}", distribution(), output("uname", &["-r"])?)),
        (
            "Parlor",
            format!(
                "{}, {commit}, {}",
                version(&programs.parlor)?,
                output("rustc", &["--version"])?
            ),
        ),
        ("its settings", format!("`{}`", FLAGS.join(" "))),
    ];
    if has_peers {
        all.push(("Node", output("node", &["--version"])?));
        all.push((
            "matchbox_server",
            matchbox(&programs.matchbox).unwrap_or_else(|| "not known".to_owned()),
        ));
        for package in ["express", "socket.io", "ws", "peer"] {
            all.push((package, package_version(package)?));
        }
    }
    Ok(all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn output(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).current_dir(root()).output();
    let output = output.with_context(|| format!("{program} does not start"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn version(parlor: &Path) -> anyhow::Result<String> {
    output(&parlor.to_string_lossy(), &["--version"])
}

/// Returns the version from the list that `cargo install` keeps beside its binaries.
fn matchbox(program: &Path) -> Option<String> {
    let list = fs::read_to_string(program.parent()?.with_file_name(".crates.toml")).ok()?;
    let (_, rest) = list.split_once("\"matchbox_server ")?;
    rest.split_once(' ').map(|(version, _)| version.to_owned())
}

fn package_version(package: &str) -> anyhow::Result<String> {
    let path = peers().join("node_modules").join(package).join("package.json");
    let text = fs::read_to_string(&path)
        .with_context(|| format!("{} is missing: npm ci", path.display()))?;
    let described: Value = serde_json::from_str(&text)?;
    Ok(described["version"].as_str().context("a package has a version")?.to_owned())
}

fn machine() -> anyhow::Result<String> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let model =
        field(&processors, "model name").unwrap_or_else(|| "processor not known".to_owned());
    // This process may be pinned to fewer.
    let cores = processors.lines().filter(|line| line.starts_with("processor")).count();
    let memory =
        field(&fs::read_to_string("/proc/meminfo")?, "MemTotal").context("MemTotal is missing")?;
    let memory: f64 = memory.trim_end_matches(" kB").parse()?;
    Ok(format!("{model}, {cores} cores, {:.0} GiB", memory / 1024.0 / 1024.0))
}

fn distribution() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(
        || "a distribution not known".to_owned(),
        |name| name.trim_matches('"').to_owned(),
    )
}
