//! Merges the sources of settings, and explains invalid settings.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, CommandFactory, FromArgMatches};

use super::identity::TOKEN_FLAGS;
use super::{Action, Config};

/// Settings whose values are never shown.
///
/// `ICE_SERVERS` may contain passwords, and `JWT_PUBLIC_KEY` a private key by mistake.
const SECRETS: [&str; 5] = ["API_TOKEN", "JWT_SECRET", "JWT_PUBLIC_KEY", "TURN_SECRET", "ICE_SERVERS"];

/// Variables that are used if another is not set.
const FALLBACKS: [(&str, &str); 2] = [("HOST", "WS_HOST"), ("PORT", "WS_PORT")];

/// Maximum edit distance at which an unknown variable counts as a misspelt setting.
const MAX_EDITS: usize = 2;

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

/// Loads the settings of this process from its arguments, its environment and `.env`.
pub fn load() -> Result<Loaded, Invalid> {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    let environment = std::env::vars().collect();
    load_from(std::env::args_os().skip(1), environment, dot_env()?)
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

/// Loads settings from flags, an environment and the entries of a `.env` file.
pub fn load_from(
    flags: impl IntoIterator<Item = OsString>,
    environment: BTreeMap<String, String>,
    dot_env: BTreeMap<String, String>,
) -> Result<Loaded, Invalid> {
    let command = Config::command().mut_args(|arg| {
        let Some(variable) = variable(&arg) else { return arg };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        arg.help(format!("{help} [env: {variable}]"))
    });
    let variables: Vec<String> = command.get_arguments().filter_map(variable).collect();
    let mut layered = dot_env;
    layered.extend(environment);
    // An empty variable counts as not set, since compose files pass on unset variables as empty
    // ones.
    layered.retain(|_, value| !value.is_empty());
    let warnings = warnings(&layered, &variables);
    for (name, fallback) in FALLBACKS {
        if let (false, Some(value)) = (layered.contains_key(name), layered.get(fallback).cloned()) {
            layered.insert(name.to_owned(), value);
        }
    }
    // The last occurrence of a flag counts, so flags come after variables.
    let from_variables =
        variables.iter().filter_map(|name| Some(format!("{}={}", flag(name), layered.get(name)?).into()));
    let arguments = std::iter::once("parlor".into()).chain(from_variables).chain(flags);
    let matches = command.clone().try_get_matches_from(arguments).map_err(|error| explain(&error))?;
    let config = Config::from_arg_matches(&matches).map_err(|error| explain(&error))?;

    if config.action != Action::Profile && !config.arguments.is_empty() {
        return Err(invalid(format!("unexpected argument {:?}", config.arguments[0])));
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
                Some(raw) => raw,
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

/// Returns the environment variable of an argument that is a setting.
fn variable(arg: &Arg) -> Option<String> {
    let is_setting = |flag: &&str| !matches!(*flag, "help" | "version") && !TOKEN_FLAGS.contains(flag);
    let flag = arg.get_long().filter(is_setting)?;
    Some(flag.to_uppercase().replace('-', "_"))
}

fn flag(variable: &str) -> String {
    format!("--{}", variable.to_lowercase().replace('_', "-"))
}

fn warnings(layered: &BTreeMap<String, String>, variables: &[String]) -> Vec<String> {
    let is_known =
        |name: &str| variables.iter().any(|known| known == name) || FALLBACKS.iter().any(|(_, it)| *it == name);
    let warn = |name: &String| {
        if is_known(name) {
            return None;
        }
        // Short names are similar to too many others.
        let near = |known: &&String| known.len() > 5 && strsim::damerau_levenshtein(known, name) <= MAX_EDITS;
        let known = variables.iter().find(near)?;
        Some(format!("{name} is not a setting and has no effect; did you mean {known}?"))
    };
    layered.keys().filter_map(warn).collect()
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
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            Invalid { message: error.to_string().trim_end().to_owned(), exit_code: 0 }
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation if flag.starts_with('-') => {
            let shown = if SECRETS.contains(&name.as_str()) { "********" } else { &value };
            invalid(format!("{name}={shown:?} is not accepted; it takes {accepted} ({flag})"))
        }
        ErrorKind::InvalidValue => {
            let actions =
                <Action as clap::ValueEnum>::value_variants().iter().filter_map(clap::ValueEnum::to_possible_value);
            let actions: Vec<String> = actions.map(|action| action.get_name().to_owned()).collect();
            invalid(format!("there is no command {value:?}; it takes {}", actions.join(", ")))
        }
        ErrorKind::UnknownArgument => match context(ContextKind::SuggestedArg) {
            Some(suggestion) => invalid(format!("there is no flag {argument}; did you mean {suggestion}?")),
            None => invalid(format!("there is no flag {argument}; --help lists them all")),
        },
        _ => invalid(error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn with(flags: &[&str], environment: &[(&str, &str)], dot_env: &[(&str, &str)]) -> Result<Loaded, Invalid> {
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
        assert_eq!(message(&["--prot", "1"], &[]), "parlor: there is no flag --prot; did you mean --port?");
        assert_eq!(
            message(&["serv"], &[]),
            r#"parlor: there is no command "serv"; it takes serve, check, health, token, profile"#
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
        assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
        assert!(loaded.warnings.iter().any(|warning| warning.contains("did you mean MAX_ROOM_SIZE?")));
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
        assert!(loaded.effective.contains(&(list.0.to_owned(), list.1.to_owned())), "{:?}", loaded.effective);
    }
}
