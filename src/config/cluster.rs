//! The settings of a cluster.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::values::{Secret, lease};

/// Several nodes as one, over Redis.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterSettings {
    /// Redis or Valkey that several nodes share rooms over, as redis://user:password@host:port/db,
    /// or rediss:// for TLS, or redis+sentinel://host:port,host:port/name; several,
    /// comma-separated: rooms are spread over them, and every node has the same list in the same
    /// order
    #[arg(long, value_name = "URLS", value_parser = engines)]
    pub cluster_url: Option<EngineUrls>,
    /// Prefix of all keys and channels, so that two clusters can share an engine
    #[arg(long, value_name = "PREFIX", default_value = "parlor", value_parser = prefix)]
    pub cluster_prefix: String,
    /// Name of this node, which no other node has: letters, digits, hyphens [default: the host
    /// name, followed by the port if that is not 4000]
    #[arg(long, value_name = "NAME", value_parser = node)]
    pub cluster_node: Option<String>,
    /// URL of the port of this node for other nodes [default: the local address of the connection
    /// to the engine]
    #[arg(long, value_name = "URL", value_parser = address)]
    pub cluster_address: Option<String>,
    /// File (PEM) of the authority that signed the engine's certificate [default: those of the
    /// system]
    #[arg(long, value_name = "FILE")]
    pub cluster_ca: Option<PathBuf>,
    /// A node that is silent for this long is dead, and its peers are removed
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = lease)]
    pub cluster_lease_seconds: Duration,
}

/// The URLs of engines. They may have passwords, so that they are not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct EngineUrls(Vec<String>);

impl EngineUrls {
    /// Returns the URLs, in their order.
    pub fn urls(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Debug for EngineUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Secret::hidden(), f)
    }
}

const SCHEMES: [&str; 3] = ["redis://", "rediss://", "redis+sentinel://"];

fn engines(text: &str) -> Result<EngineUrls, String> {
    const ACCEPTED: &str = "URLs such as redis://127.0.0.1:6379, rediss://user:password@redis.example.com or \
                            redis+sentinel://host:26379,host:26379/name, comma-separated";
    let mut urls: Vec<String> = Vec::new();
    for part in text.split(',').map(str::trim) {
        match urls.last_mut() {
            _ if SCHEMES
                .iter()
                .any(|scheme| part.starts_with(scheme) && part.len() > scheme.len()) =>
            {
                urls.push(part.to_owned());
            }
            // Another sentinel of the same group.
            Some(last)
                if last.starts_with(SCHEMES[2]) && !part.is_empty() && !part.contains("://") =>
            {
                last.push(',');
                last.push_str(part);
            }
            _ => return Err(ACCEPTED.to_owned()),
        }
    }
    if urls.is_empty() { Err(ACCEPTED.to_owned()) } else { Ok(EngineUrls(urls)) }
}

fn prefix(text: &str) -> Result<String, String> {
    let is_valid = (1..=32).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if is_valid {
        Ok(text.to_owned())
    } else {
        Err("1 to 32 letters, digits, hyphens, underscores and dots".to_owned())
    }
}

fn node(text: &str) -> Result<String, String> {
    let is_valid = (1..=63).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if is_valid {
        Ok(text.to_owned())
    } else {
        Err("1 to 63 letters, digits and hyphens".to_owned())
    }
}

fn address(text: &str) -> Result<String, String> {
    let text = text.trim().trim_end_matches('/');
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let is_plain =
        |host: &str| host.chars().all(|c| c.is_ascii_alphanumeric() || ".-:[]".contains(c));
    if host.is_some_and(|host| !host.is_empty() && is_plain(host)) {
        return Ok(text.to_owned());
    }
    Err("a URL such as http://10.0.0.7:4000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_separated_by_commas_and_so_are_sentinels_of_one() {
        let urls = |text| engines(text).map(|engines| engines.0).ok();
        assert_eq!(urls("redis://a"), Some(vec!["redis://a".to_owned()]));
        let both = urls("redis+sentinel://a:1,b:2/main, rediss://c:3/1").unwrap();
        assert_eq!(both, ["redis+sentinel://a:1,b:2/main", "rediss://c:3/1"]);
        for wrong in [
            "",
            "redis://",
            "localhost:6379",
            "http://a",
            "redis://a,b",
            "redis://a,",
            "redis+sentinel://a,,b/x",
        ] {
            assert_eq!(urls(wrong), None, "{wrong}");
        }
        assert!(!format!("{:?}", engines("redis://:secret@a").unwrap()).contains("secret"));
    }

    #[test]
    fn names_of_nodes_are_those_of_hosts() {
        assert!(
            node("parlor-1").is_ok()
                && node(&"a".repeat(64)).is_err()
                && node("a.b").is_err()
                && node("").is_err()
        );
        assert_eq!(address("http://10.0.0.7:4000/").as_deref(), Ok("http://10.0.0.7:4000"));
        assert!(address("10.0.0.7:4000").is_err() && address("http://a\"b").is_err());
    }
}
