//! Loads the event profiles that the settings name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Config;
use crate::config::socketio::AUTO;
use crate::dialect::socketio::choice::{MAX_PROFILES, Profiles};
use crate::dialect::socketio::profile::{Profile, ProfileError};

/// Reasons why an event profile cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ProfilesError {
    /// A file cannot be read.
    #[error("{}", path.display())]
    Unreadable {
        /// The file that cannot be read.
        path: PathBuf,
        /// The error of the file system.
        source: std::io::Error,
    },
    /// A file is not a valid profile.
    #[error(transparent)]
    Invalid(#[from] ProfileError),
    /// There are too many profiles.
    #[error("too many profiles, at most {MAX_PROFILES}")]
    TooMany,
}

/// Reads a profile from a file.
pub fn read(path: &Path) -> Result<Profile, ProfilesError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ProfilesError::Unreadable { path: path.to_owned(), source })?;
    Ok(Profile::read(&path.display().to_string(), &text)?)
}

/// Reads the event profiles of a server. Files come before the built-in profiles of `auto`.
pub(super) fn profiles(config: &Config) -> Result<Profiles, ProfilesError> {
    let settings = &config.socketio;
    let mut candidates: Vec<Arc<Profile>> = Vec::new();
    for word in settings.socketio_profiles.iter().filter(|word| *word != AUTO) {
        let known = Profile::builtin().iter().find(|builtin| builtin.name() == word);
        candidates.push(match known {
            Some(builtin) => Arc::clone(builtin),
            None => Arc::new(read(Path::new(word))?),
        });
    }
    if settings.socketio_profiles.iter().any(|word| word == AUTO) {
        let is_listed = |name: &str| settings.socketio_profiles.iter().any(|word| word == name);
        candidates.extend(
            Profile::builtin().iter().filter(|builtin| !is_listed(builtin.name())).cloned(),
        );
    }
    if candidates.len() >= MAX_PROFILES {
        return Err(ProfilesError::TooMany);
    }
    let is_any = settings.socketio_namespaces.iter().any(|namespace| namespace == "*");
    let namespaces = (!is_any).then(|| settings.socketio_namespaces.clone());
    Ok(Profiles::new(candidates, settings.relay_events.clone()).with_namespaces(namespaces))
}
