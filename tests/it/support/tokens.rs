//! Issuers of tokens, and connections that send them.

use std::time::SystemTime;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::{SinkExt, StreamExt};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::TestServer;
use super::client::WebSocket;
use super::protocol_peer::Protocol;
use super::server::LIMIT;

pub(crate) const SECRET: &str = "thirty-two bytes are the least of it";

/// An issuer of tokens.
pub(crate) struct Issuer {
    pub(crate) algorithm: Algorithm,
    key: EncodingKey,
    /// The public key as PEM; for a symmetric key, the secret.
    pub(crate) public: String,
    pub(crate) kid: Option<String>,
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

impl Issuer {
    pub(crate) fn secret(secret: &str) -> Self {
        let key = EncodingKey::from_secret(secret.as_bytes()).unwrap();
        Self { algorithm: Algorithm::HS256, key, public: secret.to_owned(), kid: None }
    }

    pub(crate) fn rsa() -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
        let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
        Self::of(Algorithm::RS256, private.as_ref(), public.as_ref())
    }

    pub(crate) fn ec() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let private = pair.to_pkcs8v1().unwrap();
        let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
        Self::of(Algorithm::ES256, private.as_ref(), public.as_ref())
    }

    pub(crate) fn ed() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let private = pair.to_pkcs8v1().unwrap();
        let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
        Self::of(Algorithm::EdDSA, private.as_ref(), public.as_ref())
    }

    fn of(algorithm: Algorithm, private: &[u8], public: &[u8]) -> Self {
        let private = pem("PRIVATE KEY", private);
        let key = match algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_pem(private.as_bytes()),
            Algorithm::ES256 => EncodingKey::from_ec_pem(private.as_bytes()),
            _ => EncodingKey::from_ed_pem(private.as_bytes()),
        };
        Self { algorithm, key: key.unwrap(), public: pem("PUBLIC KEY", public), kid: None }
    }

    pub(crate) fn named(self, kid: &str) -> Self {
        Self { kid: Some(kid.to_owned()), ..self }
    }

    pub(crate) fn nameless(self) -> Self {
        Self { kid: None, ..self }
    }

    /// Returns the flag with which a server accepts its tokens.
    pub(crate) fn flag(&self) -> String {
        let name = if self.algorithm == Algorithm::HS256 { "jwt-secret" } else { "jwt-public-key" };
        format!("--{name}={}", self.public)
    }

    /// Returns the key as a member of a key set.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id.clone_from(&self.kid);
        serde_json::to_value(jwk).unwrap()
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid.clone_from(&self.kid);
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }

    /// Returns a token with this header, signed with a secret.
    pub(crate) fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let unsigned = unsigned(header, claims);
        let signed = unsigned.trim_end_matches('.');
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &self.key, self.algorithm).unwrap();
        format!("{signed}.{signature}")
    }

    /// Returns a token for a subject that is valid for an hour, with further claims.
    pub(crate) fn token(&self, sub: &str, more: &Value) -> String {
        let mut claims = json!({ "sub": sub, "exp": seconds_from_now(3600.0) });
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        self.sign(&claims)
    }
}

/// Returns a `NumericDate`.
pub(crate) fn seconds_from_now(seconds: f64) -> f64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64() + seconds
}

/// Returns a token without a signature.
pub(crate) fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", part(header), part(claims))
}

/// Returns the next message or close: `close 1008 UNAUTHORIZED`.
pub(crate) async fn next_reply(socket: &mut WebSocket) -> String {
    let waiting = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) if text == "2" => {
                    socket.send(Message::text("3")).await.ok();
                }
                Some(Ok(Message::Text(text))) => return text.to_string(),
                Some(Ok(Message::Close(Some(frame)))) => {
                    return format!("close {} {}", u16::from(frame.code), frame.reason);
                }
                Some(Ok(Message::Close(None)) | Err(_)) | None => return "end".to_owned(),
                Some(Ok(_)) => {}
            }
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.expect("a message arrives in time")
}

pub(crate) async fn send_text(socket: &mut WebSocket, text: impl Into<String>) {
    socket.send(Message::text(text.into())).await.expect("the connection is open");
}

/// Opens a WebSocket; returns the body of the response if it is refused.
pub(crate) async fn shake_hands(
    server: &TestServer,
    path: &str,
    bearer: Option<&str>,
) -> Result<WebSocket, (u16, String)> {
    let mut request = format!("ws://{}{path}", server.address()).into_client_request().unwrap();
    if let Some(token) = bearer {
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    match tokio_tungstenite::connect_async(request).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) => {
            let (head, body) = answer.into_parts();
            Err((head.status.as_u16(), String::from_utf8(body.unwrap_or_default()).unwrap()))
        }
        Err(error) => panic!("{path}: {error}"),
    }
}

/// A client that has joined with a token: the reply to its join, and its connection.
pub(crate) struct Entered {
    pub(crate) socket: WebSocket,
    pub(crate) answer: Value,
}

/// A refusal of a client.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The status, if the handshake is refused.
    pub(crate) status: Option<u16>,
    /// The message with the error, or the close.
    pub(crate) reply: String,
}

impl Refusal {
    /// Returns the code: the only word in capitals, on every protocol.
    pub(crate) fn code(&self) -> &str {
        let words = self.reply.split(|letter: char| !letter.is_ascii_uppercase() && letter != '_');
        words.max_by_key(|word| word.len()).unwrap_or_default()
    }
}

impl From<String> for Refusal {
    fn from(reply: String) -> Self {
        Self { status: None, reply }
    }
}

impl From<(u16, String)> for Refusal {
    fn from((status, reply): (u16, String)) -> Self {
        Self { status: Some(status), reply }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (status {:?})", self.reply, self.status)
    }
}

/// Connects with a token in the usual way of the protocol and joins; returns the reply if it is
/// refused.
pub(crate) async fn enter(
    server: &TestServer,
    protocol: Protocol,
    room: &str,
    token: Option<&str>,
    profile: Value,
) -> Result<Entered, Refusal> {
    let query = token.map(|token| format!("?token={token}")).unwrap_or_default();
    match protocol {
        Protocol::SocketIo => {
            let mut socket = connect_socketio(server, token).await?;
            let mut wish = profile;
            wish["roomId"] = json!(room);
            send_text(&mut socket, format!("420{}", json!(["join-room", wish]))).await;
            let first = next_reply(&mut socket).await;
            if first.starts_with("430") {
                return Err(first.into());
            }
            assert!(first.starts_with(r#"42["room-users","#), "{first}");
            let joined = next_reply(&mut socket).await;
            let answer = next_reply(&mut socket).await;
            let answer: Value = serde_json::from_str(answer.strip_prefix("430").unwrap()).unwrap();
            let joined: Value = serde_json::from_str(joined.strip_prefix("42").unwrap()).unwrap();
            assert_eq!(joined[0], "room-joined");
            Ok(Entered { socket, answer: json!({ "ack": answer[0], "own": joined[1] }) })
        }
        Protocol::Envelope => {
            let mut socket = shake_hands(server, "/ws", None).await?;
            next_reply(&mut socket).await;
            let payload = token.map_or_else(|| json!({}), |token| json!({ "token": token }));
            send_text(
                &mut socket,
                json!({ "type": "auth:request", "payload": payload }).to_string(),
            )
            .await;
            let answer = next_reply(&mut socket).await;
            let response: Value = serde_json::from_str(&answer).unwrap();
            if response["payload"]["success"] != true {
                return Err(answer.into());
            }
            let user = if profile["userId"].is_null() {
                json!({})
            } else {
                json!({ "id": profile["userId"] })
            };
            let join = json!({ "roomId": room, "user": user, "metadata": profile });
            send_text(&mut socket, json!({ "type": "room:join", "payload": join }).to_string())
                .await;
            let state = next_reply(&mut socket).await;
            let read: Value = serde_json::from_str(&state).unwrap();
            if read["type"] == "error" {
                return Err(state.into());
            }
            Ok(Entered {
                socket,
                answer: json!({ "auth": response["payload"], "state": read["payload"] }),
            })
        }
        Protocol::Topic => {
            let metadata: String =
                URL_ENCODED.iter().fold(profile.to_string(), |text, (a, b)| text.replace(a, b));
            let and = if query.is_empty() { "?" } else { "&" };
            let path = format!("/ws/{room}{query}{and}metadata={metadata}");
            let mut socket = shake_hands(server, &path, None).await?;
            let welcome = next_reply(&mut socket).await;
            let list = next_reply(&mut socket).await;
            if list.starts_with("close") {
                return Err(list.into());
            }
            Ok(Entered { socket, answer: serde_json::from_str(&welcome).unwrap() })
        }
        Protocol::Session => {
            let path = format!("/signal{query}");
            let mut socket = shake_hands(server, &path, None).await?;
            send_text(&mut socket, json!({ "type": "join", "sessionId": room }).to_string()).await;
            // A successful join has no reply here; an invalid message has an error reply.
            send_text(&mut socket, "?").await;
            let answer = next_reply(&mut socket).await;
            if answer.contains("INVALID_MESSAGE") {
                Ok(Entered { socket, answer: Value::Null })
            } else {
                Err(answer.into())
            }
        }
    }
}

const URL_ENCODED: [(&str, &str); 4] = [("{", "%7B"), ("}", "%7D"), ("\"", "%22"), (" ", "%20")];

/// Opens a Socket.IO connection with the token in its CONNECT packet.
pub(crate) async fn connect_socketio(
    server: &TestServer,
    token: Option<&str>,
) -> Result<WebSocket, String> {
    let mut socket =
        shake_hands(server, "/socket.io/?EIO=4&transport=websocket", None).await.unwrap();
    next_reply(&mut socket).await;
    let auth = token.map(|token| json!({ "token": token }).to_string()).unwrap_or_default();
    send_text(&mut socket, format!("40{auth}")).await;
    let answer = next_reply(&mut socket).await;
    if answer.starts_with("40") { Ok(socket) } else { Err(answer) }
}
