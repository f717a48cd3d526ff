//! Merges the sources of settings, and explains invalid settings.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, FromArgMatches};

use super::commands::{Action, CommandLine, ProfileCommand, variable};
use super::identity::TokenClaims;
use super::{Config, commands, file, names};

/// Settings whose values are never shown.
///
/// `ICE_SERVERS` may contain passwords, and `JWT_PUBLIC_KEY` a private key by mistake.
const SECRETS: [&str; 6] =
    ["API_TOKEN", "JWT_SECRET", "JWT_PUBLIC_KEY", "TURN_SECRET", "ICE_SERVERS", "CLUSTER_URL"];

/// Variables that are used if another is not set.
const FALLBACKS: [(&str, &str); 2] = [("HOST", "WS_HOST"), ("PORT", "WS_PORT")];

/// Valid settings, with warnings.
#[derive(Debug)]
pub struct Loaded {
    /// The effective settings.
    pub config: Config,
    /// Warnings for the operator, one line each.
    pub warnings: Vec<String>,
    /// Every setting with its effective value, secrets masked.
    pub effective: Vec<(String, String)>,
}

impl std::fmt::Display for Loaded {
    /// Writes the effective settings as the lines of a `.env` file, and the warnings as comments.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, value) in &self.effective {
            writeln!(f, "{name}={value}")?;
        }
        for warning in self.warnings.iter().chain(&self.config.exposures()) {
            writeln!(f, "# warning: {warning}")?;
        }
        Ok(())
    }
}

/// An invalid setting, or a request for the help text or version.
#[derive(Debug)]
pub struct Invalid {
    /// Text to print.
    pub message: String,
    /// Exit code: 2 for an invalid setting, 0 for the help text or version.
    pub exit_code: u8,
}

/// A request of the command line.
#[derive(Debug)]
pub enum Request {
    /// A command that needs the settings: `config.action` says which.
    WithSettings(Box<Loaded>),
    /// A command about event profiles.
    Profile(ProfileCommand),
    /// A text to print.
    Print(String),
}

/// Parses the arguments of this process, and loads its settings if the command needs them.
pub fn load() -> Result<Request, Invalid> {
    Ok(
        match commands::parse(std::env::args_os().skip(1).collect())
            .map_err(|error| explain(&error))?
        {
            CommandLine::Profile(command) => Request::Profile(command),
            CommandLine::Print(text) => Request::Print(text),
            CommandLine::Settings(action, flags) => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "this is the one place that reads the environment"
                )]
                let environment = std::env::vars().collect();
                let default_file = Some(Path::new(file::DEFAULT)).filter(|path| path.exists());
                Request::WithSettings(Box::new(merge(
                    action,
                    flags,
                    environment,
                    dot_env()?,
                    default_file,
                )?))
            }
        },
    )
}

fn dot_env() -> Result<BTreeMap<String, String>, Invalid> {
    let wrong = |error: dotenvy::Error| invalid(format!(".env: {error}"));
    match dotenvy::from_path_iter(".env") {
        Ok(entries) => entries.collect::<Result<_, _>>().map_err(wrong),
        Err(error) if error.not_found() => Ok(BTreeMap::new()),
        Err(error) => Err(wrong(error)),
    }
}

fn invalid(message: impl std::fmt::Display) -> Invalid {
    Invalid { message: format!("parlor: {message}"), exit_code: 2 }
}

/// Loads settings from flags, an environment and the entries of a `.env` file. The flags may name a
/// command that needs settings.
pub fn load_from(
    flags: impl IntoIterator<Item = OsString>,
    environment: BTreeMap<String, String>,
    dot_env: BTreeMap<String, String>,
) -> Result<Loaded, Invalid> {
    match commands::parse(flags.into_iter().collect()).map_err(|error| explain(&error))? {
        CommandLine::Settings(action, flags) => merge(action, flags, environment, dot_env, None),
        CommandLine::Profile(_) | CommandLine::Print(_) => {
            Err(invalid("this command has no settings"))
        }
    }
}

/// Merges the sources of settings. `default_file` is read if the flags name no other.
fn merge(
    action: Action,
    flags: Vec<OsString>,
    environment: BTreeMap<String, String>,
    dot_env: BTreeMap<String, String>,
    default_file: Option<&Path>,
) -> Result<Loaded, Invalid> {
    let command = commands::flags_of(action);
    let program = || std::iter::once(OsString::from("parlor"));
    let parse = |arguments: Vec<OsString>| {
        command
            .clone()
            .try_get_matches_from(program().chain(arguments))
            .map_err(|error| explain(&error))
    };
    let from_flags = parse(flags.clone())?;
    let variables: Vec<String> = command.get_arguments().filter_map(variable).collect();
    let secret_files = SECRETS.iter().map(|name| format!("{name}_FILE"));
    let known: Vec<String> = variables.iter().cloned().chain(secret_files).collect();
    let mut layered = BTreeMap::new();
    if let Some(path) =
        from_flags.get_one::<PathBuf>("config").map(PathBuf::as_path).or(default_file)
    {
        layered.extend(file::read(path, &known).map_err(invalid)?);
    }
    layered.extend(dot_env);
    layered.extend(environment);
    // An empty variable counts as not set, since compose files pass on unset variables as empty
    // ones.
    layered.retain(|_, value| !value.is_empty());
    let warnings = warnings(&layered, &known);
    read_secrets(&mut layered, &from_flags)?;
    for (name, fallback) in FALLBACKS {
        if let (false, Some(value)) = (layered.contains_key(name), layered.get(fallback).cloned()) {
            layered.insert(name.to_owned(), value);
        }
    }
    // The last occurrence of a flag counts, so flags come after variables.
    let from_variables = variables
        .iter()
        .filter_map(|name| Some(format!("{}={}", flag(name), layered.get(name)?).into()));
    let matches = parse(from_variables.chain(flags).collect())?;
    let mut config = Config::from_arg_matches(&matches).map_err(|error| explain(&error))?;
    config.action = action;
    if action == Action::Token {
        config.token = TokenClaims::from_arg_matches(&matches).map_err(|error| explain(&error))?;
    }

    if config.limits.max_metadata_bytes > config.limits.max_message_bytes {
        return Err(invalid("MAX_METADATA_BYTES must not be more than MAX_MESSAGE_BYTES"));
    }
    if config.network.tls_cert.is_some() != config.network.tls_key.is_some() {
        return Err(invalid("TLS_CERT and TLS_KEY must be set together"));
    }
    if let Some(contradiction) = config.contradiction() {
        return Err(invalid(contradiction));
    }
    let effective = command
        .get_arguments()
        .filter_map(|arg| {
            let name = variable(arg)?;
            // The list as it was written, item by item.
            let raw = matches.get_raw(arg.get_id().as_str()).map(|values| {
                let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
                values.join(",")
            });
            let value = match raw {
                Some(_) if SECRETS.contains(&name.as_str()) => "********".to_owned(),
                Some(raw) => without_password(&raw),
                None => match name.as_str() {
                    "DEMO" => config.http.demo().to_string(),
                    "REQUIRE_TLS" => config.http.require_tls().to_string(),
                    "CLIENT_URL" => config.http.client_url().to_string(),
                    "LOG_FORMAT" => format!("{:?}", config.log_format()).to_lowercase(),
                    _ => "(not set)".to_owned(),
                },
            };
            Some((name, value))
        })
        .collect();
    Ok(Loaded { config, warnings, effective })
}

/// Reads the secrets whose `NAME_FILE` is set.
fn read_secrets(
    layered: &mut BTreeMap<String, String>,
    from_flags: &ArgMatches,
) -> Result<(), Invalid> {
    for name in SECRETS {
        let variable = format!("{name}_FILE");
        let Some(path) = layered.remove(&variable) else { continue };
        let is_flag = from_flags.value_source(&name.to_lowercase()).is_some();
        if is_flag || layered.contains_key(name) {
            return Err(invalid(format!("{name} and {variable} are both set: set one of them")));
        }
        let text = std::fs::read_to_string(&path)
            .map_err(|error| invalid(format!("{variable}={path} cannot be read: {error}")))?;
        // Editors end a file with a line break.
        layered.insert(name.to_owned(), text.trim_end_matches(['\r', '\n']).to_owned());
    }
    Ok(())
}

/// Masks the passwords of addresses such as `redis://user:password@host`.
fn without_password(value: &str) -> String {
    let mask = |address: &str| {
        let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let Some((user, _)) = authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':'))
        else {
            return address.to_owned();
        };
        let after = &rest[authority.rfind('@').unwrap_or_default()..];
        format!("{scheme}://{user}:********{after}")
    };
    value.split(',').map(mask).collect::<Vec<_>>().join(",")
}

fn flag(variable: &str) -> String {
    format!("--{}", variable.to_lowercase().replace('_', "-"))
}

fn warnings(layered: &BTreeMap<String, String>, known: &[String]) -> Vec<String> {
    let is_known = |name: &String| {
        known.contains(name) || FALLBACKS.iter().any(|(_, it)| *it == name.as_str())
    };
    let unknown = layered.keys().filter(|name| !is_known(name));
    let warn = |name: &String| {
        let near = names::nearest(name, known)?;
        Some(format!("{name} is not a setting and has no effect; did you mean {near}?"))
    };
    unknown.filter_map(warn).collect()
}

/// Describes an error in one line that names the setting, its value, and the accepted values.
fn explain(error: &clap::Error) -> Invalid {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    let argument = context(ContextKind::InvalidArg).unwrap_or_default();
    // clap formats it as `--port <PORT>`.
    let flag = argument.split([' ', '=', '[']).next().unwrap_or_default();
    let name = flag.trim_start_matches('-').to_uppercase().replace('-', "_");
    let value = context(ContextKind::InvalidValue).unwrap_or_default();
    let accepted = std::error::Error::source(error)
        .map(ToString::to_string)
        .or_else(|| context(ContextKind::ValidValue))
        .unwrap_or_else(|| "a value".to_owned());
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Invalid { message: error.to_string().trim_end().to_owned(), exit_code: 0 }
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation if flag.starts_with('-') => {
            let shown = if SECRETS.contains(&name.as_str()) {
                "********".to_owned()
            } else {
                without_password(&value)
            };
            invalid(format!("{name}={shown:?} is not accepted; it takes {accepted} ({flag})"))
        }
        ErrorKind::InvalidValue => {
            invalid(format!("{argument} is missing or not accepted; it takes {accepted}"))
        }
        ErrorKind::InvalidSubcommand => {
            let value = context(ContextKind::InvalidSubcommand).unwrap_or_default();
            match context(ContextKind::SuggestedSubcommand) {
                Some(near) => {
                    invalid(format!("there is no command {value:?}; did you mean {near}?"))
                }
                None => {
                    invalid(format!("there is no command {value:?}; `parlor help` lists them all"))
                }
            }
        }
        ErrorKind::MissingRequiredArgument => invalid(format!("missing {argument}")),
        ErrorKind::UnknownArgument if !argument.starts_with('-') => {
            invalid(format!("unexpected argument {argument:?}; `parlor help` lists the commands"))
        }
        ErrorKind::UnknownArgument => match context(ContextKind::SuggestedArg) {
            Some(suggestion) => {
                invalid(format!("there is no flag {argument}; did you mean {suggestion}?"))
            }
            None => invalid(format!("there is no flag {argument}; --help lists them all")),
        },
        _ => invalid(
            error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: "),
        ),
    }
}

#[cfg(test)]
mod tests;
