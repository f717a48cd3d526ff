//! How requests are refused: a status, and `{"error": "<message>", "code": "<CODE>"}`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::auth::Denial;
use crate::dialect::DecodeError;
use crate::id::IdError;
use crate::metrics::Limit;
use crate::room::{Code, RoomError};
use crate::session::AdmissionError;

/// How long a client should wait before it tries another time, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// Why a request is refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApiError {
    /// No such path.
    #[error("Not found")]
    NotFound,
    /// The path does not take this method.
    #[error("Method not allowed")]
    MethodNotAllowed,
    /// A room id out of bounds.
    #[error("{field}: {problem}")]
    BadRoomId {
        /// What it came as.
        field: &'static str,
        /// Which bound.
        problem: IdError,
    },
    /// The path is no text.
    #[error("the path cannot be read")]
    BadPath,
    /// A field that cannot be read.
    #[error("{0}")]
    Invalid(&'static str),
    /// The body is no JSON, or not of the right form.
    #[error("the body is not the JSON expected: {0}")]
    BadBody(String),
    /// The body is over the size limit.
    #[error("the body is too large, at most {max} bytes")]
    TooLarge {
        /// The most bytes.
        max: usize,
    },
    /// A token is needed.
    #[error("a valid token is required")]
    Unauthorized,
    /// Not without a token that nobody has set.
    #[error("API_TOKEN is not set: rooms cannot be changed by REST in production")]
    WritesDisabled,
    /// The page that asks is of no allowed origin.
    #[error("this origin is not allowed; CLIENT_URL lists those that are")]
    ForeignOrigin,
    /// A page sends a body of another type than JSON.
    #[error("Content-Type: must be application/json")]
    NotJson,
    /// The request is no WebSocket handshake, and should be one.
    #[error("a WebSocket handshake is expected here")]
    NotAHandshake,
    /// The query cannot be read.
    #[error("the query cannot be read")]
    BadQuery,
    /// What a handshake says is wrong.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The request must come over TLS.
    #[error("TLS is required here")]
    TlsRequired,
    /// The rooms refuse it.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// New sessions are refused.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// There are too many connections.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// The body took too long to come.
    #[error("the request took too long")]
    TooSlow,
    /// A defect of ours.
    #[error("internal error")]
    Internal,
}

impl From<Denial> for ApiError {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::TooManyInvalid => AdmissionError::TooManyInvalidTokens.into(),
            Denial::Unauthorized | Denial::OtherPerson | Denial::OtherRoom => Self::Unauthorized,
        }
    }
}

impl ApiError {
    fn code(&self) -> Code {
        match self {
            Self::NotFound => Code::NotFound,
            Self::MethodNotAllowed => Code::MethodNotAllowed,
            Self::BadRoomId { .. }
            | Self::BadPath
            | Self::Invalid(_)
            | Self::BadBody(_)
            | Self::NotJson
            | Self::NotAHandshake
            | Self::BadQuery
            | Self::TooSlow => Code::InvalidMessage,
            Self::Decode(error) => error.code(),
            Self::TooLarge { .. } => Code::PayloadTooLarge,
            Self::Unauthorized => Code::Unauthorized,
            Self::WritesDisabled | Self::ForeignOrigin | Self::TlsRequired => Code::Forbidden,
            Self::Room(error) => error.code(),
            Self::ShuttingDown => Code::ShuttingDown,
            Self::Admission(_) => Code::LimitReached,
            Self::Internal => Code::Internal,
        }
    }

    /// The limit that was hit, where it is not counted where that happens.
    fn limit(&self) -> Option<Limit> {
        match self {
            Self::Room(RoomError::TooManyRooms { .. }) => Some(Limit::Rooms),
            Self::TooLarge { .. } => Some(Limit::MessageBytes),
            Self::TooSlow => Some(Limit::HandshakeTime),
            _ => None,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Admission(
                AdmissionError::TooManyFromAddress { .. }
                | AdmissionError::TooManyUnconnected { .. }
                | AdmissionError::TooManyInvalidTokens,
            ) => {
                return StatusCode::TOO_MANY_REQUESTS;
            }
            Self::TooSlow => return StatusCode::REQUEST_TIMEOUT,
            Self::NotJson => return StatusCode::UNSUPPORTED_MEDIA_TYPE,
            _ => {}
        }
        match self.code() {
            Code::NotFound | Code::RoomNotFound | Code::NotInRoom | Code::TargetNotFound => StatusCode::NOT_FOUND,
            Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Code::InvalidMessage => StatusCode::BAD_REQUEST,
            Code::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::Unauthorized => StatusCode::UNAUTHORIZED,
            Code::Forbidden => StatusCode::FORBIDDEN,
            Code::RoomExists | Code::RoomFull | Code::Replaced => StatusCode::CONFLICT,
            Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Code::RoomClosed => StatusCode::GONE,
            Code::LimitReached
            | Code::ShuttingDown
            | Code::DeliveryFailed
            | Code::TransportError
            | Code::ProduceError
            | Code::ConsumeError => StatusCode::SERVICE_UNAVAILABLE,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Travels with the response, for what counts errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) limit: Option<Limit>,
}

#[derive(Serialize)]
struct Body {
    error: String,
    code: &'static str,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = Body { error: self.to_string(), code: self.code().as_str() };
        let mut response = (status, Json(body)).into_response();
        response.extensions_mut().insert(Refusal { code: self.code(), limit: self.limit() });
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        if matches!(self, Self::Admission(_)) {
            // It counts towards no limit, and is not kept. (HTTP/2 has no such header, and hyper leaves it out there.)
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
