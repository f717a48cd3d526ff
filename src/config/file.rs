//! The settings file, in TOML: each key is a setting, in lower case or as its variable.

use std::collections::BTreeMap;
use std::path::Path;

use super::names;

/// The file that is read if there is no `--config`.
pub(super) const DEFAULT: &str = "parlor.toml";

/// Reads a settings file. Returns the values by their variables, or a line that says what is wrong.
pub(super) fn read(path: &Path, known: &[String]) -> Result<BTreeMap<String, String>, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read the settings file {shown}: {error}"))?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| {
        let line = error
            .span()
            .map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        format!("{shown}: line {line}: {}", error.message())
    })?;
    let mut values = BTreeMap::new();
    for (key, value) in table {
        let name = key.to_uppercase().replace('-', "_");
        if !known.contains(&name) {
            let suggestion = names::nearest(&name, known)
                .map(|near| format!("; did you mean {}?", near.to_lowercase()));
            return Err(format!(
                "{shown}: {key} is not a setting{}",
                suggestion.unwrap_or_default()
            ));
        }
        if values.insert(name, as_text(&value)?).is_some() {
            return Err(format!("{shown}: {key} is set twice"));
        }
    }
    Ok(values)
}

/// Returns a value as the text of its variable: lists comma-separated, tables as JSON.
fn as_text(value: &toml::Value) -> Result<String, String> {
    let json =
        |value: &toml::Value| serde_json::to_string(value).map_err(|error| error.to_string());
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Array(items)
            if items.iter().any(|item| item.is_table() || item.is_array()) =>
        {
            json(value)
        }
        toml::Value::Array(items) => {
            Ok(items.iter().map(as_text).collect::<Result<Vec<_>, _>>()?.join(","))
        }
        toml::Value::Table(_) => json(value),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Float(number) => Ok(number.to_string()),
        toml::Value::Boolean(flag) => Ok(flag.to_string()),
        toml::Value::Datetime(time) => Ok(time.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<BTreeMap<String, String>, String> {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let path = std::env::temp_dir().join(format!(
            "parlor-{}-{:x}.toml",
            std::process::id(),
            hasher.finish()
        ));
        std::fs::write(&path, text).unwrap();
        let known = ["PORT", "CLIENT_URL", "ICE_SERVERS", "DEMO"].map(str::to_owned);
        let read = read(&path, &known);
        std::fs::remove_file(path).unwrap();
        read
    }

    #[test]
    fn values_become_the_texts_of_variables() {
        let values = read_text(
            "port = 81\ndemo = false\nclient-url = [\"https://a.example\", \"https://b.example\"]\n\
             [[ice_servers]]\nurls = \"stun:s.example\"\n",
        )
        .unwrap();
        let of = |name: &str| values[name].as_str();
        assert_eq!((of("PORT"), of("DEMO")), ("81", "false"));
        assert_eq!(of("CLIENT_URL"), "https://a.example,https://b.example");
        assert_eq!(of("ICE_SERVERS"), r#"[{"urls":"stun:s.example"}]"#);
    }

    #[test]
    fn invalid_file_is_explained_in_one_line() {
        let unknown = read_text("prot = 1\n").unwrap_err();
        assert!(unknown.ends_with(": prot is not a setting; did you mean port?"), "{unknown}");
        let syntax = read_text("port = 1\ndemo =\n").unwrap_err();
        assert!(syntax.contains(": line 2: ") && !syntax.contains('\n'), "{syntax}");
        assert!(read_text("port = 1\nPORT = 2\n").unwrap_err().ends_with("is set twice"));
        assert!(
            read(Path::new("/nowhere/parlor.toml"), &[])
                .unwrap_err()
                .starts_with("cannot read the settings file")
        );
    }
}
