//! Hides the Engine.IO session id of a 2.x client from other clients.
//!
//! A 2.x client reads its `socket.id` from the Engine.IO session id, and many frontends send it: as
//! a user id, as a sender, in a chat message. A client that knows that id can impersonate its
//! owner. Therefore it is replaced by the sender's connection id, which other peers know, before
//! the event is interpreted.

use std::borrow::Cow;

use crate::id::ConnectionId;

/// Replaces a session id in the text of an event by the id of its connection.
///
/// A JSON string that consists of the session id, optionally after a namespace (`/chat#id`) or
/// before a node's suffix (`id.node`), becomes the connection id. Within longer strings, and in
/// keys, only the session id itself is replaced. A text without the session id is returned
/// unchanged, after one search.
pub fn replace<'a>(text: &'a str, session_id: &str, connection: ConnectionId) -> Cow<'a, str> {
    if session_id.is_empty() || !text.contains(session_id) {
        return Cow::Borrowed(text);
    }
    let connection = connection.to_string();
    let mut out = String::with_capacity(text.len() + 2 * connection.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(session_id) {
        let prefix = namespace(before);
        let suffix = node(after);
        // Only a whole string, between two quotes, can have such a form.
        let (before, after) = match (before.strip_suffix(prefix), after.strip_prefix(suffix)) {
            (Some(start), Some(end)) if opens(start) && end.starts_with('"') => (start, end),
            _ => (before, after),
        };
        out.push_str(before);
        out.push_str(&connection);
        rest = after;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Returns whether a text ends with the quote that opens a string, not with an escaped quote.
fn opens(before: &str) -> bool {
    before.ends_with('"') && !before.ends_with("\\\"")
}

/// Returns a namespace and its number sign at the end of a text, back to the quote before it:
/// `/chat#`. Empty if there is none.
fn namespace(before: &str) -> &str {
    let string = before.rsplit('"').next().unwrap_or_default();
    let is_namespace = string.ends_with('#') && !string.contains('\\');
    if is_namespace { string } else { "" }
}

/// Returns the suffix that names a cluster node at the beginning of a text, up to the quote after
/// it: `.node-1`. Empty if there is none.
fn node(after: &str) -> &str {
    let string = after.split('"').next().unwrap_or_default();
    let is_node = string.starts_with('.')
        && string.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    if is_node { string } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "AAAA-bbbb_CCCC11";

    fn replaced(text: &str) -> String {
        replace(text, SECRET, ConnectionId::from_u128(7))
            .replace(&ConnectionId::from_u128(7).to_string(), "<me>")
    }

    #[test]
    fn every_form_of_the_session_id_becomes_the_connection_id() {
        for form in [
            SECRET,
            &format!("/chat#{SECRET}"),
            &format!("{SECRET}.node-1"),
            &format!("/a/b#{SECRET}.eu"),
        ] {
            assert_eq!(replaced(&format!(r#"["x","{form}"]"#)), r#"["x","<me>"]"#);
            assert_eq!(
                replaced(&format!(r#"["x",{{"a":[{{"b":"{form}"}}],"c":"{form}"}},"{form}"]"#)),
                r#"["x",{"a":[{"b":"<me>"}],"c":"<me>"},"<me>"]"#
            );
        }
    }

    #[test]
    fn the_session_id_within_a_longer_string_is_replaced_and_the_rest_stays() {
        assert_eq!(replaced(&format!(r#"["chat","I am {SECRET}."]"#)), r#"["chat","I am <me>."]"#);
        assert_eq!(replaced(&format!(r#"["x","room-{SECRET}"]"#)), r#"["x","room-<me>"]"#);
        assert_eq!(
            replaced(&format!(r#"["x","/chat#{SECRET} and more"]"#)),
            r#"["x","/chat#<me> and more"]"#
        );
        assert_eq!(replaced(&format!(r#"["x","{SECRET}{SECRET}"]"#)), r#"["x","<me><me>"]"#);
        assert_eq!(replaced(&format!(r#"["x",{{"{SECRET}":1}}]"#)), r#"["x",{"<me>":1}]"#);
        assert_eq!(replaced(&format!("[\"x\",\"\\\"#{SECRET}\"]")), "[\"x\",\"\\\"#<me>\"]");
    }

    #[test]
    fn a_text_without_the_session_id_is_not_copied() {
        assert!(matches!(
            replace(r#"["x","y"]"#, SECRET, ConnectionId::from_u128(7)),
            Cow::Borrowed(_)
        ));
        assert!(matches!(
            replace(r#"["x","y"]"#, "", ConnectionId::from_u128(7)),
            Cow::Borrowed(_)
        ));
    }
}
