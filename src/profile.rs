//! `parlor profile`: lists, shows, checks and learns event profiles.

use anyhow::bail;
use parlor::config::ProfileCommand;
use parlor::dialect::socketio::profile::Profile;
use parlor::record;
use parlor::server::profiles::read;

/// Executes a command, and returns its output.
pub(crate) fn run(command: ProfileCommand) -> anyhow::Result<String> {
    match command {
        ProfileCommand::List => Ok(list()),
        ProfileCommand::Show { name } => match Profile::source(&name) {
            Some(text) => Ok(text.to_owned()),
            None => {
                bail!("there is no built-in profile {name:?}; there are {}", names().join(", "))
            }
        },
        ProfileCommand::Check { file } => {
            let profile = read(&file)?;
            Ok(format!("{}: profile {:?} is valid", file.display(), profile.name()))
        }
        ProfileCommand::Learn(order) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(record::run(&order)).map_err(anyhow::Error::new)
        }
    }
}

fn names() -> Vec<&'static str> {
    Profile::builtin().iter().map(|profile| profile.name()).collect()
}

fn list() -> String {
    let width = names().iter().map(|name| name.len()).max().unwrap_or_default();
    let lines = Profile::builtin()
        .iter()
        .map(|profile| format!("{:width$}  {}", profile.name(), profile.about()));
    lines.collect::<Vec<_>>().join("\n")
}
