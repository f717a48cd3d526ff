//! The commands of the program, each with its flags and its help.
//!
//! Commands that need the settings take them as flags, before or after their name;
//! [`super::layers`] merges those with the other sources. The others are parsed here.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::{Arg, Args, Command, FromArgMatches, Subcommand};
use clap_complete::Shell;

use super::Config;
use super::identity::{TOKEN_FLAGS, TokenClaims};
use super::record::Order;

/// A command that needs the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Action {
    /// Serve until a signal arrives.
    #[default]
    Serve,
    /// Validate the settings and print the effective ones.
    Check,
    /// Print a token for testing, signed with `JWT_SECRET`.
    Token,
    /// Query the health of the server on this machine.
    Health,
}

/// A command about event profiles.
#[derive(Debug, Clone, Subcommand)]
pub enum ProfileCommand {
    /// List the built-in profiles
    List,
    /// Print a built-in profile, as a file to copy and change
    Show {
        /// Name of a built-in profile
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Validate a profile file
    Check {
        /// Profile file (.toml)
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Learn a profile.
    #[command(flatten)]
    Learn(Order),
}

// All commands, as clap parses them. A doc comment would become the description of the program.
#[derive(Debug, Clone, Subcommand)]
enum AnyCommand {
    /// Serve until a signal arrives (the default)
    Serve,
    /// Validate the settings and the files that they name, and print the effective ones
    Check,
    /// Print a token for testing, signed with `JWT_SECRET`
    Token(TokenClaims),
    /// Query the server on this machine: exit code 0 if it is healthy
    Health,
    /// List, show, validate or learn event profiles
    Profile {
        #[command(subcommand)]
        command: Option<ProfileCommand>,
    },
    /// Print completions for a shell
    Completions {
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Print the manual page, as roff
    Man,
}

/// A parsed command line.
pub(super) enum CommandLine {
    /// A command that needs the settings, and the flags that set some of them.
    Settings(Action, Vec<OsString>),
    /// A command about event profiles.
    Profile(ProfileCommand),
    /// A text to print.
    Print(String),
}

/// Settings that `parlor token` and `parlor health` use. Their help shows only these; all are
/// accepted.
const TOKEN_SETTINGS: [&str; 4] = ["jwt_secret", "jwt_issuer", "jwt_audience", "config"];
const HEALTH_SETTINGS: [&str; 6] = ["host", "port", "tls_cert", "tls_key", "dev_tls", "config"];

const NAMES: [(&str, Action); 4] = [
    ("serve", Action::Serve),
    ("check", Action::Check),
    ("token", Action::Token),
    ("health", Action::Health),
];

/// Parses arguments, without the name of the program.
pub(super) fn parse(arguments: Vec<OsString>) -> Result<CommandLine, clap::Error> {
    let matches = tree().try_get_matches_from(with_program(&arguments))?;
    let Some((name, command)) = matches.subcommand() else {
        return Ok(CommandLine::Settings(Action::Serve, arguments));
    };
    if let Some((_, action)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(CommandLine::Settings(*action, without_command(arguments, name)));
    }
    Ok(match name {
        "profile" if command.subcommand_name().is_none() => {
            CommandLine::Profile(ProfileCommand::List)
        }
        "profile" => CommandLine::Profile(ProfileCommand::from_arg_matches(command)?),
        "completions" => {
            let shell = *command.get_one::<Shell>("shell").expect("clap requires it");
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut tree(), "parlor", &mut text);
            CommandLine::Print(String::from_utf8_lossy(&text).into_owned())
        }
        _ => CommandLine::Print(manual_page()),
    })
}

/// Returns the flags of a command that needs the settings.
pub(super) fn flags_of(action: Action) -> Command {
    let command = with_settings(Command::new("parlor"));
    if action == Action::Token { TokenClaims::augment_args(command) } else { command }
}

/// Returns the program with all of its commands.
fn tree() -> Command {
    let root = with_settings(Command::new("parlor").version(env!("CARGO_PKG_VERSION")));
    let mut root = AnyCommand::augment_subcommands(root).next_help_heading(None);
    for (name, action) in NAMES {
        root = root.mut_subcommand(name, |command| {
            let command = with_settings(command);
            let shown: &[&str] = match action {
                Action::Token => &TOKEN_SETTINGS,
                Action::Health => &HEALTH_SETTINGS,
                Action::Serve | Action::Check => return command,
            };
            let own: Vec<String> = TokenClaims::augment_args(Command::new(""))
                .get_arguments()
                .map(|arg| arg.get_id().to_string())
                .collect();
            command
                .mut_args(|arg| {
                    let id = arg.get_id().as_str();
                    let is_shown =
                        shown.contains(&id) || own.iter().any(|own| own == id) || id == "help";
                    arg.hide(!is_shown)
                })
                .after_help(
                    "Other settings of `parlor serve --help` are accepted and have no effect.",
                )
        });
    }
    root
}

/// Adds the settings to a command, and keeps its description.
fn with_settings(command: Command) -> Command {
    let (about, long) = (command.get_about().cloned(), command.get_long_about().cloned());
    let is_root = about.is_none();
    let command = Config::augment_args(command).mut_args(|arg| {
        let Some(variable) = variable(&arg) else { return arg };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        arg.help(format!("{help} [env: {variable}]"))
    });
    if is_root {
        command
    } else {
        command
            .about(Resettable::from(about))
            .long_about(Resettable::from(long))
            .disable_version_flag(true)
    }
}

fn with_program(arguments: &[OsString]) -> impl Iterator<Item = OsString> {
    std::iter::once("parlor".into()).chain(arguments.to_vec())
}

/// Removes the name of the command: its first occurrence that is not the value of a flag.
fn without_command(mut arguments: Vec<OsString>, name: &str) -> Vec<OsString> {
    let flags = flags_of(Action::Serve);
    let is_command = |position: &usize| {
        arguments[*position] == name
            && flags.clone().try_get_matches_from(with_program(&arguments[..*position])).is_ok()
    };
    if let Some(position) = (0..arguments.len()).find(is_command) {
        arguments.remove(position);
    }
    arguments
}

fn manual_page() -> String {
    let mut text = Vec::new();
    // Writing to memory does not fail.
    _ = clap_mangen::Man::new(tree()).render(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// Returns the environment variable of an argument that is a setting.
pub(super) fn variable(arg: &Arg) -> Option<String> {
    let is_setting = |flag: &&str| {
        !matches!(*flag, "config" | "help" | "version") && !TOKEN_FLAGS.contains(flag)
    };
    let flag = arg.get_long().filter(is_setting)?;
    Some(flag.to_uppercase().replace('-', "_"))
}
