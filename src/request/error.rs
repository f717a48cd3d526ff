//! Error responses: a status, and `{"error": "<message>", "code": "<CODE>"}`.

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

/// Value of `Retry-After`, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// Why a request is refused.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ApiError {
    /// No such path.
    #[error("Not found")]
    NotFound,
    /// The path does not take this method.
    #[error("Method not allowed")]
    MethodNotAllowed,
    /// A room id is invalid.
    #[error("{field}: {problem}")]
    BadRoomId {
        /// The field that holds the id.
        field: &'static str,
        /// The problem.
        problem: IdError,
    },
    /// A peer id is invalid.
    #[error("userId: {0}")]
    BadPeerId(IdError),
    /// The path is not valid UTF-8.
    #[error("the path cannot be read")]
    BadPath,
    /// A field is invalid.
    #[error("{0}")]
    Invalid(&'static str),
    /// The body is not JSON, or not of the right form.
    #[error("the body is not the JSON expected: {0}")]
    BadBody(String),
    /// The body is over the size limit.
    #[error("the body is too large, at most {max} bytes")]
    TooLarge {
        /// The limit, in bytes.
        max: usize,
    },
    /// The token is missing or invalid.
    #[error("a valid token is required")]
    Unauthorized,
    /// `API_TOKEN` is not set, so that rooms cannot be changed in production.
    #[error("API_TOKEN is not set: rooms cannot be changed by REST in production")]
    WritesDisabled,
    /// The origin of the page is not allowed.
    #[error("this origin is not allowed; CLIENT_URL lists those that are")]
    ForeignOrigin,
    /// A page sent a body that is not JSON.
    #[error("Content-Type: must be application/json")]
    NotJson,
    /// The request is not a WebSocket handshake.
    #[error("a WebSocket handshake is expected here")]
    NotAHandshake,
    /// The query is malformed.
    #[error("the query cannot be read")]
    BadQuery,
    /// The parameters of a handshake are invalid.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The request must come over TLS.
    #[error("TLS is required here")]
    TlsRequired,
    /// A room operation failed.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// The engine of the cluster does not answer.
    #[error("the cluster's engine does not answer")]
    Unavailable,
    /// The node of a peer does not answer.
    #[error("the node of this peer does not answer")]
    NoAnswer,
    /// The server is draining.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// A connection limit was exceeded.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// The request took too long.
    #[error("the request took too long")]
    TooSlow,
    /// A handler panicked.
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
            | Self::BadPeerId(_)
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
            Self::Unavailable => Code::Unavailable,
            Self::NoAnswer => Code::NoAnswer,
            Self::ShuttingDown => Code::ShuttingDown,
            Self::Admission(_) => Code::LimitReached,
            Self::Internal => Code::Internal,
        }
    }

    /// Returns the limit to count for this error, unless it is counted where it occurs.
    fn limit(&self) -> Option<Limit> {
        match self {
            Self::Room(RoomError::TooManyRooms { .. }) => Some(Limit::Rooms),
            Self::TooLarge { .. } => Some(Limit::MessageBytes),
            Self::TooSlow => Some(Limit::HandshakeTime),
            _ => None,
        }
    }

    /// Returns why a handshake is refused, if that is logged for handshakes. A refused origin is
    /// logged where it is found.
    fn cause(&self) -> Option<&'static str> {
        match self {
            Self::Unauthorized => Some("token"),
            Self::Admission(_) => Some("limit"),
            Self::TlsRequired => Some("TLS"),
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
            Code::NotFound
            | Code::RoomNotFound
            | Code::NotInRoom
            | Code::TargetNotFound
            | Code::SessionNotFound => StatusCode::NOT_FOUND,
            Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Code::InvalidMessage => StatusCode::BAD_REQUEST,
            Code::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::Unauthorized => StatusCode::UNAUTHORIZED,
            Code::Forbidden => StatusCode::FORBIDDEN,
            Code::RoomExists | Code::RoomFull | Code::Replaced => StatusCode::CONFLICT,
            Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Code::RoomClosed | Code::Kicked | Code::SessionEnded => StatusCode::GONE,
            Code::NoAnswer => StatusCode::GATEWAY_TIMEOUT,
            Code::LimitReached
            | Code::Unavailable
            | Code::ShuttingDown
            | Code::DeliveryFailed
            | Code::TransportError
            | Code::ProduceError
            | Code::ConsumeError => StatusCode::SERVICE_UNAVAILABLE,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Attached to the response, to count errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) limit: Option<Limit>,
    /// Why a handshake is refused, if that is logged for handshakes.
    pub(crate) cause: Option<&'static str>,
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
        response.extensions_mut().insert(Refusal {
            code: self.code(),
            limit: self.limit(),
            cause: self.cause(),
        });
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        if matches!(self, Self::Admission(_)) {
            // A refused connection counts towards no limit, so it is closed. (hyper omits the
            // header in HTTP/2.)
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
