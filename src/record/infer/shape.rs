//! Shapes of values: descriptions, candidates, times, and the way to a value inside the arguments
//! of an event.

use std::fmt;

use serde_json::Value;

/// Maximum depth at which values are looked for.
const MAX_DEPTH: usize = 5;

/// The kind of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// A session description of type `offer`.
    Offer,
    /// A session description of type `answer`.
    Answer,
    /// An ICE candidate.
    Candidate,
}

/// One step of a path from an argument to a value in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Step {
    /// The argument, or the element of an array.
    Index(usize),
    /// The member of an object.
    Key(String),
}

/// The path from the list of arguments to a value.
pub(super) type Path = Vec<Step>;

/// Writes a path as JavaScript would.
pub(super) struct Shown<'a>(pub(super) &'a [Step]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) if depth == 0 => write!(f, "argument {}", index + 1)?,
                Step::Index(_) => f.write_str("[]")?,
                Step::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

/// Returns the last key of a path.
pub(super) fn last_key(path: &[Step]) -> Option<&str> {
    path.iter().rev().find_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    })
}

/// Returns the value at a path.
pub(super) fn at<'a>(args: &'a [Value], path: &[Step]) -> Option<&'a Value> {
    let (Step::Index(first), rest) = path.split_first()? else { return None };
    rest.iter().try_fold(args.get(*first)?, |value, step| match step {
        Step::Index(index) => value.get(*index),
        Step::Key(key) => value.get(key),
    })
}

/// Calls `visit` with every scalar in the arguments and its path, to a bounded depth. Arrays are
/// visited if `arrays` is set.
pub(super) fn scalars<'a>(
    args: &'a [Value],
    arrays: bool,
    visit: &mut impl FnMut(&Path, &'a Value),
) {
    let mut path = Vec::new();
    for (index, arg) in args.iter().enumerate() {
        path.push(Step::Index(index));
        descend(arg, arrays, &mut path, visit);
        path.pop();
    }
}

fn descend<'a>(
    value: &'a Value,
    arrays: bool,
    path: &mut Path,
    visit: &mut impl FnMut(&Path, &'a Value),
) {
    if path.len() > MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                path.push(Step::Key(key.clone()));
                descend(value, arrays, path, visit);
                path.pop();
            }
        }
        Value::Array(values) if arrays => {
            for (index, value) in values.iter().enumerate() {
                path.push(Step::Index(index));
                descend(value, arrays, path, visit);
                path.pop();
            }
        }
        Value::Array(_) => {}
        scalar => visit(path, scalar),
    }
}

/// Returns the kind of signal that a value itself is. For a bare string of SDP, which does not name
/// its type, an offer.
pub(super) fn signal(value: &Value) -> Option<Kind> {
    match value {
        Value::String(text) if text.starts_with("v=0") => Some(Kind::Offer),
        Value::String(text)
            if text.starts_with("candidate:") || text.starts_with("a=candidate:") =>
        {
            Some(Kind::Candidate)
        }
        Value::Object(members) => {
            let text = |key: &str| members.get(key).and_then(Value::as_str);
            match text("type") {
                Some("offer") if text("sdp").is_some() => return Some(Kind::Offer),
                Some("answer" | "pranswer") if text("sdp").is_some() => return Some(Kind::Answer),
                _ => {}
            }
            let is_init = members.contains_key("sdpMid") || members.contains_key("sdpMLineIndex");
            let is_candidate =
                text("candidate").is_some_and(|text| text.starts_with("candidate:") || is_init);
            is_candidate.then_some(Kind::Candidate)
        }
        _ => None,
    }
}

/// Returns the outermost value in the arguments that is a signal itself.
pub(super) fn find_signal(args: &[Value]) -> Option<(Path, Kind)> {
    fn search(value: &Value, path: &mut Path) -> Option<Kind> {
        if let Some(kind) = signal(value) {
            return Some(kind);
        }
        let Value::Object(members) = value else { return None };
        if path.len() > MAX_DEPTH {
            return None;
        }
        for (key, value) in members {
            path.push(Step::Key(key.clone()));
            if let Some(kind) = search(value, path) {
                return Some(kind);
            }
            path.pop();
        }
        None
    }
    args.iter().enumerate().find_map(|(index, arg)| {
        let mut path = vec![Step::Index(index)];
        search(arg, &mut path).map(|kind| (path, kind))
    })
}

/// Returns the path of the first value in the arguments that equals `wanted`.
pub(super) fn find_value(args: &[Value], wanted: &Value) -> Option<Path> {
    fn search(value: &Value, wanted: &Value, path: &mut Path) -> bool {
        if value == wanted {
            return true;
        }
        let Value::Object(members) = value else { return false };
        if path.len() > MAX_DEPTH {
            return false;
        }
        for (key, value) in members {
            path.push(Step::Key(key.clone()));
            if search(value, wanted, path) {
                return true;
            }
            path.pop();
        }
        false
    }
    args.iter().enumerate().find_map(|(index, arg)| {
        let mut path = vec![Step::Index(index)];
        search(arg, wanted, &mut path).then_some(path)
    })
}

/// Returns whether a value is or has an array.
pub(super) fn has_list(value: &Value) -> bool {
    value.is_array()
        || value.as_object().is_some_and(|members| members.values().any(Value::is_array))
}

/// Returns a value that can be an id: a non-empty string, or a number, as text.
pub(super) fn id(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() && text.len() <= 256 => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Returns whether a value is a time in ISO 8601.
pub(super) fn is_iso_time(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    let bytes = text.as_bytes();
    let is_digit = |index: usize| bytes.get(index).is_some_and(u8::is_ascii_digit);
    let is_date = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15].into_iter().all(is_digit);
    is_date
        && bytes.get(4) == Some(&b'-')
        && bytes.get(7) == Some(&b'-')
        && bytes.get(10) == Some(&b'T')
}

/// Returns whether a value is a time as JavaScript's `Date.now()` writes it.
pub(super) fn is_epoch_time(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| (1.0e12..4.0e12).contains(&number))
}

/// Describes a value for the list of parts that a profile cannot express.
pub(super) fn describe(value: &Value) -> &'static str {
    match value {
        _ if is_iso_time(value) || is_epoch_time(value) => "a time",
        Value::Number(_) => "a number that the server keeps",
        Value::Bool(_) => "a flag that the server decides",
        Value::String(_) => "a text that the server makes",
        Value::Array(_) => "a list that the server keeps",
        Value::Object(_) => "an object that the server makes",
        Value::Null => "null",
    }
}

/// Returns the JSON of a value, cut to what fits into one line of a comment.
pub(super) fn example(value: &Value) -> String {
    const MAX: usize = 100;
    let text = value.to_string();
    if text.chars().count() <= MAX {
        text
    } else {
        format!("{}…", text.chars().take(MAX).collect::<String>())
    }
}
