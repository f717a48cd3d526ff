//! Where settings come from, and what is said of one that is wrong.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, CommandFactory, FromArgMatches};

use super::identity::FLAGS_OF_TOKEN;
use super::{Action, Config};

/// Settings whose values are never shown.
///
/// `ICE_SERVERS` may hold passwords, `JWT_PUBLIC_KEY` a private key that someone took for the other.
const SECRETS: [&str; 5] = ["API_TOKEN", "JWT_SECRET", "JWT_PUBLIC_KEY", "TURN_SECRET", "ICE_SERVERS"];

/// Variables that are read where another is not set.
const STAND_INS: [(&str, &str); 2] = [("HOST", "WS_HOST"), ("PORT", "WS_PORT")];

/// How far a name may be from a setting's to be taken for it, misspelt: two slips of the hand.
const MISSPELT: usize = 2;

/// Valid settings.
#[derive(Debug)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// What the operator should look at, a line each.
    pub warnings: Vec<String>,
    /// Every setting and its value, secrets masked.
    pub in_force: Vec<(String, String)>,
}

impl std::fmt::Display for Loaded {
    /// What is in force as the lines of a `.env` file, and the warnings as its comments.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, value) in &self.in_force {
            writeln!(f, "{name}={value}")?;
        }
        for warning in self.warnings.iter().chain(&self.config.exposures()) {
            writeln!(f, "# warning: {warning}")?;
        }
        Ok(())
    }
}

/// Settings that are not valid, or a text that was asked for.
#[derive(Debug)]
pub struct Invalid {
    /// What to print.
    pub message: String,
    /// 2 for wrong settings; 0 where help or the version was asked for.
    pub exit_code: u8,
}

/// Reads the settings of this process.
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

/// Reads settings from flags, an environment and the entries of a `.env` file.
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
    // As in a compose file that passes on what may not be set: empty is not set.
    layered.retain(|_, value| !value.is_empty());
    let warnings = warnings(&layered, &variables);
    for (name, stand_in) in STAND_INS {
        if let (false, Some(value)) = (layered.contains_key(name), layered.get(stand_in).cloned()) {
            layered.insert(name.to_owned(), value);
        }
    }
    // Of a flag that stands twice the last one counts: so flags come after variables.
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
        return Err(invalid("TLS_CERT and TLS_KEY belong together: both are to be set, or neither"));
    }
    if let Some(contradiction) = config.contradiction() {
        return Err(invalid(contradiction));
    }
    let in_force = command
        .get_arguments()
        .filter_map(|arg| {
            let name = variable(arg)?;
            // What was read of a list, item by item.
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
    Ok(Loaded { config, warnings, in_force })
}

/// The variable of an argument that is a setting.
fn variable(arg: &Arg) -> Option<String> {
    let is_setting = |flag: &&str| !matches!(*flag, "help" | "version") && !FLAGS_OF_TOKEN.contains(flag);
    let flag = arg.get_long().filter(is_setting)?;
    Some(flag.to_uppercase().replace('-', "_"))
}

fn flag(variable: &str) -> String {
    format!("--{}", variable.to_lowercase().replace('_', "-"))
}

fn warnings(layered: &BTreeMap<String, String>, variables: &[String]) -> Vec<String> {
    let is_known =
        |name: &str| variables.iter().any(|known| known == name) || STAND_INS.iter().any(|(_, it)| *it == name);
    let warn = |name: &String| {
        if is_known(name) {
            return None;
        }
        // Short names are close to too many others.
        let near = |known: &&String| known.len() > 5 && strsim::damerau_levenshtein(known, name) <= MISSPELT;
        let known = variables.iter().find(near)?;
        Some(format!("{name} is not a setting and has no effect; did you mean {known}?"))
    };
    layered.keys().filter_map(warn).collect()
}

/// One line that names the setting, the value, and what is accepted.
fn explain(error: &clap::Error) -> Invalid {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    let argument = context(ContextKind::InvalidArg).unwrap_or_default();
    // clap writes it as `--port <PORT>`.
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
    fn flags_win_over_the_environment_that_over_dot_env_that_over_defaults() {
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
    fn a_wrong_value_is_one_line_that_says_what_is_accepted() {
        let said = |flags: &[&str], environment: &[(&str, &str)]| {
            let invalid = with(flags, environment, &[]).unwrap_err();
            assert_eq!(invalid.exit_code, 2);
            assert!(!invalid.message.contains('\n'), "{}", invalid.message);
            invalid.message
        };
        assert_eq!(
            said(&[], &[("PORT", "abc")]),
            r#"parlor: PORT="abc" is not accepted; it takes a whole number from 0 to 65535 (--port)"#
        );
        assert_eq!(
            said(&["--node-env=live"], &[]),
            r#"parlor: NODE_ENV="live" is not accepted; it takes development, test, production (--node-env)"#
        );
        assert_eq!(said(&["--prot", "1"], &[]), "parlor: there is no flag --prot; did you mean --port?");
        assert_eq!(
            said(&["serv"], &[]),
            r#"parlor: there is no command "serv"; it takes serve, check, health, token, profile"#
        );
        assert!(said(&["--demo=maybe"], &[]).contains("true or false"));
        assert!(
            said(&[], &[("MAX_METADATA_BYTES", "8192"), ("MAX_MESSAGE_BYTES", "4096")]).contains("MAX_METADATA_BYTES")
        );
    }

    #[test]
    fn a_misspelt_variable_is_warned_about() {
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
        assert!(loaded.in_force.contains(&("API_TOKEN".to_owned(), "********".to_owned())));
    }

    #[test]
    fn lists_are_shown_as_they_are_written() {
        let list = ("SFU_ANNOUNCED_ADDRESS", "203.0.113.7,10.0.0.5:500");
        let loaded = with(&[], &[list], &[]).unwrap();
        assert!(loaded.in_force.contains(&(list.0.to_owned(), list.1.to_owned())), "{:?}", loaded.in_force);
    }
}
