//! Reasons why a server does not start.

use std::io;

use super::cluster::ClusterError;
use super::profiles::ProfilesError;
use super::settings::SettingError;
use crate::sfu::MediaStartError;
use crate::tls::{SelfSignedError, TlsError};

/// Reasons why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A file that a setting names is invalid.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The certificate cannot be loaded.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The certificate for development cannot be made.
    #[error("DEV_TLS")]
    SelfSigned(#[from] SelfSignedError),
    /// An event profile cannot be loaded.
    #[error("SOCKETIO_PROFILES")]
    Profiles(#[from] ProfilesError),
    /// A setting of the cluster cannot be used.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The media server cannot be started.
    #[error("cannot start the media server (SFU=off disables it)")]
    Media(#[from] MediaStartError),
}

/// A port that cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {setting}={host}:{port}")]
pub struct BindError {
    pub(super) setting: &'static str,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) source: io::Error,
}
