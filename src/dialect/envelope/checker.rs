//! Checks the fields of one object, and collects all problems, so that an error lists every invalid
//! field.

use std::borrow::Cow;

use crate::dialect::DecodeError;
use crate::dialect::json::{self, Members};
use crate::id::IdError;
use crate::json::JsonText;

/// A problem of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The path of the field, such as `payload.roomId`; empty for the message as a whole.
    pub path: Cow<'static, str>,
    /// The problem, such as `missing`.
    pub problem: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &*self.path {
            "" => f.write_str(&self.problem),
            path => write!(f, "{path}: {}", self.problem),
        }
    }
}

/// Reads the members of one object, and collects the problems.
pub(super) struct Checker<'a> {
    pub(super) members: Members<'a>,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(members: Members<'a>) -> Self {
        Self { members, problems: Vec::new() }
    }

    pub(super) fn value(&self, key: &str) -> Option<JsonText<'a>> {
        self.members.get(key)
    }

    pub(super) fn problems(self) -> Vec<Problem> {
        self.problems
    }

    pub(super) fn wrong(&mut self, path: impl Into<Cow<'static, str>>, problem: impl Into<String>) {
        self.problems.push(Problem { path: path.into(), problem: problem.into() });
    }

    /// Adds an error that does not name its field.
    pub(super) fn wrong_field(&mut self, path: &'static str, error: &DecodeError) {
        self.wrong(path, error.to_string().trim_start_matches(": "));
    }

    pub(super) fn id<T>(
        &mut self,
        path: &'static str,
        new: impl FnOnce(&str) -> Result<T, IdError>,
    ) -> Option<T> {
        let value = self.members.get(field(path))?;
        match json::id("", value, new) {
            Ok(id) => Some(id),
            Err(error) => {
                self.wrong_field(path, &error);
                None
            }
        }
    }

    pub(super) fn required<T>(
        &mut self,
        path: &'static str,
        new: impl FnOnce(&str) -> Result<T, IdError>,
    ) -> Option<T> {
        if !self.members.has(field(path)) {
            self.wrong(path, "missing");
        }
        self.id(path, new)
    }

    /// Returns the value of a string field, if it is present and valid.
    pub(super) fn text(&mut self, path: &'static str) -> Option<String> {
        let value = self.members.get(field(path))?;
        let text = json::string(value);
        if text.is_none() {
            self.wrong(path, "must be a string");
        }
        text.map(Into::into)
    }

    pub(super) fn object(&mut self, path: &'static str) -> Option<Members<'a>> {
        let value = self.members.get(field(path))?;
        let object = Members::read(value);
        if object.is_none() {
            self.wrong(path, "must be an object");
        }
        object
    }

    pub(super) fn done<T>(self, value: impl FnOnce() -> T) -> Result<T, Vec<Problem>> {
        if self.problems.is_empty() { Ok(value()) } else { Err(self.problems) }
    }
}

/// Returns the last part of a path.
pub(super) fn field(path: &'static str) -> &'static str {
    path.rsplit('.').next().unwrap_or(path)
}
