//! `parlor profile`: lists, shows and checks event profiles.

use std::path::Path;

use anyhow::bail;
use parlor::dialect::socketio::profile::Profile;
use parlor::server::profiles::read;

const USAGE: &str = "profile takes: list, show NAME, check FILE, record --upstream URL, or infer FILE";

/// Executes the command after `profile`, and returns its output.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<String> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] | ["list"] => Ok(list()),
        ["show", name] => match Profile::source(name) {
            Some(text) => Ok(text.to_owned()),
            None => bail!("there is no built-in profile {name:?}; there are {}", names().join(", ")),
        },
        ["check", file] => {
            let profile = read(Path::new(file))?;
            Ok(format!("{file}: profile {:?} is valid", profile.name()))
        }
        _ => bail!(USAGE),
    }
}

fn names() -> Vec<&'static str> {
    Profile::builtin().iter().map(|profile| profile.name()).collect()
}

fn list() -> String {
    let width = names().iter().map(|name| name.len()).max().unwrap_or_default();
    let lines = Profile::builtin().iter().map(|profile| format!("{:width$}  {}", profile.name(), profile.about()));
    lines.collect::<Vec<_>>().join("\n")
}
