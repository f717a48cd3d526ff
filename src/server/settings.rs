//! Builds the parts of the server from the settings. Only this module reads the files that settings
//! name.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::error::StartError;
use crate::auth::{Key, KeyError, KeySet, Keys, PublicKey, Verifier};
use crate::config::{Announced, Config, LimitSettings, Network, Secret};
use crate::dialect::socketio::choice::Profiles;
use crate::ice::{IceServers, Turn};
use crate::room::limits::{PairSessionLimits, RoomLimits};
use crate::session::admission::AdmissionLimits;
use crate::session::{AccessPolicy, HubLimits, MessageRate, ResumeLimits};
use crate::sfu;
use crate::tls::{Files, Tls};
use crate::transport::queue::QueueLimits;
use crate::transport::socketio::SocketIoSettings;
use crate::transport::websocket::WebSocketSettings;

/// A setting that is invalid, or names an invalid file.
#[derive(Debug, thiserror::Error)]
#[error("{name}={value:?} is not accepted; it takes {accepted} ({flag})")]
pub struct SettingError {
    name: &'static str,
    /// The setting's text, masked if it may be a secret.
    value: String,
    flag: &'static str,
    accepted: KeyError,
}

/// Loads the token keys and the ICE servers.
pub(super) fn access_policy(config: &Config) -> Result<AccessPolicy, SettingError> {
    Ok(AccessPolicy { verifier: verifier(config)?, ice_servers: ice_servers(config).map(Arc::new) })
}

fn verifier(config: &Config) -> Result<Option<Verifier>, SettingError> {
    let tokens = &config.tokens;
    let keys = if let Some(secret) = &tokens.jwt_secret {
        Keys::Secret(Key::secret(secret.as_str()))
    } else if let Some(key) = &tokens.jwt_public_key {
        let (name, flag) = ("JWT_PUBLIC_KEY", "--jwt-public-key");
        // The value may be a private key by mistake, so it is never shown.
        let refused =
            |accepted| SettingError { name, value: "********".to_owned(), flag, accepted };
        Keys::Public(PublicKey::read(key.as_str()).map_err(refused)?)
    } else if let Some(path) = &tokens.jwt_jwks {
        let value = path.to_string_lossy().into_owned();
        let refused =
            |accepted| SettingError { name: "JWT_JWKS", value, flag: "--jwt-jwks", accepted };
        Keys::Set(Arc::new(KeySet::read(path).map_err(refused)?))
    } else {
        return Ok(None);
    };
    Ok(Some(Verifier::new(keys, tokens.jwt_issuer.clone(), tokens.jwt_audience.clone())))
}

fn ice_servers(config: &Config) -> Option<IceServers> {
    let ice = &config.ice;
    let turn = ice.turn_secret.as_ref().filter(|_| !ice.turn_urls.is_empty());
    let turn = turn.map(|secret| Turn::new(&ice.turn_urls, secret.as_str(), ice.turn_ttl_seconds));
    IceServers::new(ice.ice_servers.as_ref().map(Secret::as_str), turn)
}

/// Loads the certificate if one is configured, or makes one for development.
pub(super) fn tls(config: &Config) -> Result<Option<Tls>, StartError> {
    let Network { tls_cert, tls_key, dev_tls, host, .. } = &config.network;
    if *dev_tls {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        if let Ok(name) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
            names.extend([name.trim().to_owned(), format!("{}.local", name.trim())]);
        }
        let ip = host.parse().unwrap_or(IpAddr::from([0, 0, 0, 0]));
        names.extend(
            sfu::detect_addresses(SocketAddr::new(ip, 0))
                .iter()
                .map(|address| address.ip().to_string()),
        );
        return Ok(Some(Tls::self_signed(names)?));
    }
    let files = tls_cert.clone().zip(tls_key.clone());
    Ok(files.map(|(certificate, key)| Tls::load(Files { certificate, key })).transpose()?)
}

pub(super) fn room_limits(config: &Config) -> RoomLimits {
    RoomLimits {
        auto_create: config.rooms.room_auto_create,
        room_size: config.limits.max_room_size,
        rooms: (config.rooms.max_rooms > 0).then_some(config.rooms.max_rooms),
        rooms_per_connection: config.rooms.max_rooms_per_connection,
        metadata_bytes: config.limits.max_metadata_bytes,
        empty_room_ttl: config.rooms.empty_room_ttl_seconds,
        session: PairSessionLimits {
            messages: config.limits.session_queue_messages,
            bytes: config.limits.session_queue_bytes,
            ttl: config.limits.session_queue_ttl_seconds,
        },
    }
}

pub(super) fn session_limits(config: &Config) -> HubLimits {
    let LimitSettings { max_connections, max_connections_per_ip, max_unconnected_per_ip, .. } =
        config.limits;
    let LimitSettings { messages_per_second, message_burst, invalid_tokens_per_minute, .. } =
        config.limits;
    let LimitSettings { resume_messages: messages, resume_bytes: bytes, .. } = config.limits;
    let limit = |count| (count > 0).then_some(count);
    let rate = NonZeroU32::new(messages_per_second).zip(NonZeroU32::new(message_burst));
    let time = config.times.resume_seconds;
    HubLimits {
        admission: AdmissionLimits {
            total: limit(max_connections),
            per_address: limit(max_connections_per_ip),
            unconnected_per_address: limit(max_unconnected_per_ip),
        },
        invalid_tokens_per_minute: NonZeroU32::new(invalid_tokens_per_minute),
        resume: (!time.is_zero()).then_some(ResumeLimits { time, messages, bytes }),
        message_rate: rate.map(|(per_second, burst)| MessageRate { per_second, burst }),
    }
}

/// Returns the settings of the media server on a bound socket.
pub(super) fn media(
    config: &Config,
    bound: SocketAddr,
    connect_timeout: Duration,
) -> sfu::SfuSettings {
    let media = &config.media;
    let address = |announced: &Announced| {
        SocketAddr::new(announced.ip, announced.port.unwrap_or(bound.port()))
    };
    let announced: Vec<SocketAddr> = media.sfu_announced_address.iter().map(address).collect();
    sfu::SfuSettings {
        announced: if announced.is_empty() { sfu::detect_addresses(bound) } else { announced },
        max_bitrate: media.sfu_max_bitrate_kbps * 1000,
        max_producers: media.sfu_max_producers,
        max_app_data: config.limits.max_metadata_bytes,
        max_transports: media.sfu_max_transports,
        transports_per_second: media.sfu_transports_per_second,
        connect_timeout,
    }
}

fn queue_limits(config: &Config) -> QueueLimits {
    const MIN_BYTES: usize = 1024 * 1024;
    QueueLimits {
        frames: config.limits.send_queue,
        // `SEND_QUEUE` messages of maximum size would be far more than any call needs.
        bytes: config.limits.max_message_bytes.saturating_mul(16).max(MIN_BYTES),
        promised: config.limits.session_queue_messages.max(config.limits.resume_messages),
    }
}

pub(super) fn socketio(config: &Config, profiles: Profiles) -> SocketIoSettings {
    let profiles = if config.is_production() { profiles } else { profiles.with_suggestions() };
    SocketIoSettings {
        max_message_bytes: config.limits.max_message_bytes,
        queue: queue_limits(config),
        ping_interval: config.times.ping_interval_ms,
        ping_timeout: config.times.ping_timeout_ms,
        handshake_timeout: config.times.handshake_timeout_seconds,
        profiles: Arc::new(profiles),
    }
}

pub(super) fn websocket(config: &Config) -> WebSocketSettings {
    WebSocketSettings {
        max_message_bytes: config.limits.max_message_bytes,
        queue: queue_limits(config),
        heartbeat: config.times.ws_ping_seconds,
        handshake_timeout: config.times.handshake_timeout_seconds,
    }
}
