//! `RELAY_EVENTS`: the application events that are relayed, their names for recipients, and whether
//! their sender receives them.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use crate::dialect::message;

/// The application events that are relayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayEvents {
    /// Whether events without a rule are relayed.
    is_open: bool,
    rules: HashMap<String, Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    /// The name for recipients, if it differs.
    name: Option<String>,
    /// Whether the sender receives the event, too.
    echo: bool,
}

/// How an application event is relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relayed<'a> {
    /// The name for recipients.
    pub name: &'a str,
    /// Whether the sender receives the event, too.
    pub echo: bool,
}

impl RelayEvents {
    /// Returns how an event is relayed; `None` if it is not.
    pub fn find<'a>(&'a self, event: &'a str) -> Option<Relayed<'a>> {
        match self.rules.get(event) {
            Some(Rule { name, echo }) => {
                Some(Relayed { name: name.as_deref().unwrap_or(event), echo: *echo })
            }
            None => self.is_open.then_some(Relayed { name: event, echo: false }),
        }
    }

    /// Returns whether an event has a rule of its own.
    pub fn names(&self, event: &str) -> bool {
        self.rules.contains_key(event)
    }
}

impl Default for RelayEvents {
    fn default() -> Self {
        Self { is_open: true, rules: HashMap::new() }
    }
}

const ACCEPTED: &str =
    "all, none, or names such as chat, send-message>receive-message, draw!, comma-separated";

impl FromStr for RelayEvents {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut events = Self { is_open: false, rules: HashMap::new() };
        let words: Vec<&str> = text.split(',').map(str::trim).collect();
        if words == ["none"] {
            return Ok(events);
        }
        for word in words {
            if word == "all" {
                events.is_open = true;
                continue;
            }
            let (word, echo) = word.strip_suffix('!').map_or((word, false), |word| (word, true));
            let (event, name) = word
                .split_once('>')
                .map_or((word, None), |(event, name)| (event.trim(), Some(name.trim())));
            let is_good = |name: &str| {
                message::check_name("event", name).is_ok() && !name.contains(['>', '!'])
            };
            if word == "none" || !is_good(event) || !name.is_none_or(is_good) {
                return Err(ACCEPTED.to_owned());
            }
            events.rules.insert(event.to_owned(), Rule { name: name.map(str::to_owned), echo });
        }
        Ok(events)
    }
}

impl fmt::Display for RelayEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<String> = self
            .rules
            .iter()
            .map(|(event, Rule { name, echo })| {
                let name = name.as_ref().map(|name| format!(">{name}")).unwrap_or_default();
                format!("{event}{name}{}", if *echo { "!" } else { "" })
            })
            .collect();
        words.sort();
        if self.is_open {
            words.insert(0, "all".to_owned());
        }
        if words.is_empty() { f.write_str("none") } else { f.write_str(&words.join(",")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(setting: &str, event: &str) -> Option<(String, bool)> {
        let events: RelayEvents = setting.parse().unwrap();
        events.find(event).map(|Relayed { name, echo }| (name.to_owned(), echo))
    }

    #[test]
    fn all_none_and_lists_decide_what_is_relayed() {
        assert_eq!(find("all", "chat"), Some(("chat".to_owned(), false)));
        assert_eq!(find("none", "chat"), None);
        assert_eq!(find("chat, draw!", "chat"), Some(("chat".to_owned(), false)));
        assert_eq!(find("chat, draw!", "draw"), Some(("draw".to_owned(), true)));
        assert_eq!(find("chat, draw!", "other"), None);
        assert_eq!(
            find("send-message > receive-message", "send-message"),
            Some(("receive-message".to_owned(), false))
        );
        assert_eq!(find("all,send>receive!", "send"), Some(("receive".to_owned(), true)));
        assert_eq!(find("all,send>receive!", "chat"), Some(("chat".to_owned(), false)));
    }

    #[test]
    fn names_of_server_events_and_broken_rules_are_refused() {
        for wrong in
            ["user-joined", "chat>user-joined", "a>b>c", "a>", ">b", "chat,,draw", "none,chat", "!"]
        {
            assert!(wrong.parse::<RelayEvents>().is_err(), "{wrong}");
        }
    }
}
