//! Patterns: the `args` of `[[in]]` rules, which bind values of an event to variables.
//!
//! A pattern is compiled once from TOML and matched against the raw arguments of an event. Matching
//! borrows: a bound value is a slice of the message.

use std::borrow::Cow;

use crate::dialect::json::{self, Argument, Members};
use crate::json::JsonText;

/// The key that binds the rest of an object: `"..." = "$meta"`.
pub(super) const REST: &str = "...";

/// The shape of one argument, or of one value in an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Pattern {
    /// `$_`
    Anything,
    /// A variable; `$x?` also matches an absent value and `null`.
    Bind { variable: Variable, is_optional: bool },
    /// A text, number or boolean that must be equal.
    Literal(Literal),
    /// An object with these keys; others are allowed, and become metadata if `rest` is set.
    Object { keys: Vec<(String, Pattern)>, rest: bool },
}

/// A literal of a pattern.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Text(String),
    Number(f64),
    Boolean(bool),
}

/// A variable of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Variable {
    Room,
    User,
    Target,
    Body,
    /// The members of an object become the sender's metadata.
    Meta,
    /// The value becomes one member of the sender's metadata.
    MetaKey(String),
}

/// The names that a pattern may use, for suggestions.
pub(super) const VARIABLES: [&str; 6] = ["room", "user", "target", "body", "meta", "_"];

/// The values that a pattern has bound.
#[derive(Debug, Default)]
pub struct Bindings<'a> {
    /// The room, a string or a number.
    pub room: Option<JsonText<'a>>,
    /// The sender's peer id, a string or a number.
    pub user: Option<JsonText<'a>>,
    /// The recipient, a string or a number.
    pub target: Option<JsonText<'a>>,
    /// The description or candidate.
    pub body: Option<JsonText<'a>>,
    /// Members of the sender's metadata.
    pub meta: Vec<(Cow<'a, str>, JsonText<'a>)>,
}

impl Pattern {
    /// Compiles a TOML value; the error names what is wrong with it.
    pub(super) fn compile(value: &toml::Value) -> Result<Self, String> {
        Ok(match value {
            toml::Value::String(text) => match text.strip_prefix('$') {
                // `$$` is a literal that begins with a dollar sign.
                Some(literal) if literal.starts_with('$') => {
                    Self::Literal(Literal::Text(literal.to_owned()))
                }
                Some("_") => Self::Anything,
                Some(name) => {
                    let (name, is_optional) =
                        name.strip_suffix('?').map_or((name, false), |name| (name, true));
                    Self::Bind { variable: Variable::parse(name)?, is_optional }
                }
                None => Self::Literal(Literal::Text(text.clone())),
            },
            #[expect(
                clippy::cast_precision_loss,
                reason = "JSON numbers are compared as JavaScript does"
            )]
            toml::Value::Integer(number) => Self::Literal(Literal::Number(*number as f64)),
            toml::Value::Float(number) => Self::Literal(Literal::Number(*number)),
            toml::Value::Boolean(value) => Self::Literal(Literal::Boolean(*value)),
            toml::Value::Table(table) => {
                let rest = match table.get(REST) {
                    None => false,
                    Some(toml::Value::String(text)) if text == "$meta" => true,
                    Some(_) => return Err(format!("`\"{REST}\"` takes \"$meta\" only")),
                };
                let keys = table.iter().filter(|(key, _)| *key != REST);
                let keys = keys.map(|(key, value)| Ok((key.clone(), Self::compile(value)?)));
                Self::Object { keys: keys.collect::<Result<_, String>>()?, rest }
            }
            toml::Value::Array(_) | toml::Value::Datetime(_) => {
                return Err("a pattern is a variable, a literal or an object".to_owned());
            }
        })
    }

    /// Returns whether a variable is bound somewhere in the pattern.
    pub(super) fn binds(&self, wanted: &Variable) -> bool {
        match self {
            Self::Bind { variable, .. } => variable == wanted,
            Self::Object { keys, .. } => keys.iter().any(|(_, pattern)| pattern.binds(wanted)),
            Self::Anything | Self::Literal(_) => false,
        }
    }

    /// Returns whether a first argument has the kind that is wanted, without reading its values.
    pub(super) fn may_match(&self, first: Option<&Argument<'_>>) -> bool {
        let is_id = |variable: &Variable| {
            matches!(variable, Variable::Room | Variable::User | Variable::Target)
        };
        let is_object = matches!(first, Some(Argument::Object(_)));
        match (self, first) {
            (Self::Object { keys, .. }, Some(Argument::Object(members))) => {
                keys.iter().all(|(key, pattern)| pattern.is_optional() || members.has(key))
            }
            (Self::Object { .. }, _) => false,
            (Self::Literal(_), _) => !is_object,
            (Self::Bind { variable, .. }, _) => !(is_object && is_id(variable)),
            (Self::Anything, _) => true,
        }
    }

    fn is_optional(&self) -> bool {
        match self {
            Self::Anything => true,
            Self::Bind { is_optional, .. } => *is_optional,
            Self::Literal(_) | Self::Object { .. } => false,
        }
    }

    /// Matches a value; an absent one is `None`. What was bound before a mismatch is left in
    /// `bindings`.
    pub(super) fn matches<'a>(
        &self,
        value: Option<JsonText<'a>>,
        bindings: &mut Bindings<'a>,
    ) -> bool {
        match self {
            Self::Anything => true,
            Self::Literal(literal) => value.is_some_and(|value| literal.matches(value)),
            Self::Bind { variable, is_optional } => match value {
                None => *is_optional,
                Some(value) if *is_optional && value.is_null() => true,
                Some(value) => variable.bind(value, bindings),
            },
            Self::Object { keys, rest } => {
                let Some(members) = value.filter(|value| value.is_object()).and_then(Members::read)
                else {
                    return false;
                };
                let is_match =
                    keys.iter().all(|(key, pattern)| pattern.matches(members.get(key), bindings));
                if is_match && *rest {
                    let is_rest = |key: &str| keys.iter().all(|(name, _)| name != key);
                    bindings.meta.extend(members.into_iter().filter(|(key, _)| is_rest(key)));
                }
                is_match
            }
        }
    }
}

impl Literal {
    fn matches(&self, value: JsonText<'_>) -> bool {
        match self {
            Self::Text(text) => json::string(value).is_some_and(|value| value == text.as_str()),
            Self::Number(number) => serde_json::from_str(value.get())
                .is_ok_and(|value: f64| value.total_cmp(number).is_eq()),
            Self::Boolean(expected) => value.get() == if *expected { "true" } else { "false" },
        }
    }
}

impl Variable {
    fn parse(name: &str) -> Result<Self, String> {
        Ok(match name {
            "room" => Self::Room,
            "user" => Self::User,
            "target" => Self::Target,
            "body" => Self::Body,
            "meta" => Self::Meta,
            _ => match name.strip_prefix("meta.") {
                Some(key) if !key.is_empty() => Self::MetaKey(key.to_owned()),
                _ => return Err(super::unknown_variable(name, &VARIABLES)),
            },
        })
    }

    /// Ids must be strings or numbers; metadata as a whole must be an object.
    fn bind<'a>(&self, value: JsonText<'a>, bindings: &mut Bindings<'a>) -> bool {
        let is_id = value.is_string() || value.is_number();
        match self {
            Self::Room => is_id && bindings.room.replace(value).is_none(),
            Self::User => is_id && bindings.user.replace(value).is_none(),
            Self::Target => is_id && bindings.target.replace(value).is_none(),
            Self::Body => bindings.body.replace(value).is_none(),
            Self::MetaKey(key) => {
                bindings.meta.push((Cow::Owned(key.clone()), value));
                true
            }
            Self::Meta => {
                let Some(members) =
                    Some(value).filter(|value| value.is_object()).and_then(Members::read)
                else {
                    return false;
                };
                bindings.meta.extend(members);
                true
            }
        }
    }
}
