//! What services answer, and what becomes of their errors.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;

use crate::cloud::{CloudError, EntryId, Ledger, Trouble};

/// Longest message of a service that is passed on, in characters.
const LONGEST: usize = 1000;

/// A request did not bring what was asked for.
#[derive(Debug)]
pub(super) enum ApiError {
    /// The service answered with an error.
    Refused {
        /// HTTP status.
        status: u16,
        /// The service's words.
        message: String,
        /// By which the cloud's people find it in their logs.
        request_id: String,
        /// How long the service asks us to wait.
        retry_after: Option<Duration>,
        /// Whether something may have come of an earlier attempt.
        in_doubt: bool,
    },
    /// It certainly had no effect: the request did not leave.
    Unreachable(String),
    /// The answer was lost; the request may have had its effect.
    Lost(String),
    /// Known what it means already.
    Known(CloudError),
}

impl ApiError {
    /// A refusal of which only this is known.
    pub(super) fn refused(status: u16, message: impl Into<String>) -> Self {
        let (message, request_id) = (message.into(), String::new());
        Self::Refused { status, message, request_id, retry_after: None, in_doubt: false }
    }

    /// Whether the service answered with this status.
    pub(super) fn is(&self, wanted: u16) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == wanted)
    }

    /// Whether nothing came of the request, and nothing will: it did not leave, or its service refused it. 408 and the
    /// errors of gateways (5xx) say nothing of what the service behind them does; 409 may be about an earlier request of ours.
    pub(super) fn had_no_effect(&self) -> bool {
        match self {
            Self::Refused { status, in_doubt, .. } => {
                !in_doubt && (400..500).contains(status) && ![408, 409].contains(status)
            }
            Self::Unreachable(_) => true,
            Self::Lost(_) | Self::Known(_) => false,
        }
    }

    /// This error where something may have come of an earlier attempt: that nothing came of the last one proves nothing.
    pub(super) fn in_doubt(self) -> Self {
        match self {
            Self::Refused { status, message, request_id, retry_after, .. } => {
                Self::Refused { status, message, request_id, retry_after, in_doubt: true }
            }
            Self::Unreachable(why) => Self::Lost(why),
            lost_or_known => lost_or_known,
        }
    }

    /// In a few words, for an incident.
    pub(super) fn briefly(&self) -> String {
        match self {
            Self::Refused { status, message, .. } => format!("HTTP {status}: {message}"),
            Self::Unreachable(why) | Self::Lost(why) => without_address(why).to_owned(),
            Self::Known(error) => error.message.clone(),
        }
    }

    /// The error for the caller; `tried` says what was tried on what, as in "creating server x".
    pub(super) fn when(self, tried: &str) -> CloudError {
        match self {
            Self::Known(error) => CloudError { message: format!("{tried}: {}", error.message), ..error },
            Self::Unreachable(why) | Self::Lost(why) => {
                CloudError::new(Trouble::Unavailable, format!("{tried}: {why}"))
            }
            Self::Refused { status, message, request_id, .. } => {
                let trouble = trouble(status, &message);
                let id =
                    if request_id.is_empty() { String::new() } else { format!(", request {request_id}") };
                CloudError::new(trouble, format!("{tried}: {message} (HTTP {status})"))
                    .with_evidence(format!("the cloud answered HTTP {status}{id}: {message}"))
            }
        }
    }
}

/// Writes down that nothing came of a request, where that is certain. Where it cannot be written the row stays open, and the
/// thing is looked for: the refusal is the greater news.
pub(super) async fn note_refusal(ledger: &dyn Ledger, entry: EntryId, error: &ApiError) {
    if error.had_no_effect()
        && let Err(why) = ledger.refused(entry).await
    {
        tracing::warn!("cannot write down what was refused: {why}");
    }
}

/// The crate `openstack` keeps an error's kind, and its status only for itself.
impl From<osauth::Error> for ApiError {
    fn from(error: osauth::Error) -> Self {
        use osauth::ErrorKind;
        let message = error.to_string();
        match error.kind() {
            ErrorKind::AuthenticationFailed => Self::refused(401, message),
            ErrorKind::AccessDenied => Self::refused(403, message),
            ErrorKind::ResourceNotFound => Self::refused(404, message),
            ErrorKind::Conflict => Self::refused(409, message),
            ErrorKind::InternalServerError => Self::refused(500, message),
            ErrorKind::InvalidConfig
            | ErrorKind::InvalidInput
            | ErrorKind::TooManyItems
            | ErrorKind::EndpointNotFound => CloudError::new(Trouble::Configuration, message).into(),
            _ => Self::Lost(message),
        }
    }
}

impl From<CloudError> for ApiError {
    fn from(error: CloudError) -> Self {
        Self::Known(error)
    }
}

/// What kind of trouble an error status means.
fn trouble(status: u16, message: &str) -> Trouble {
    let text = message.to_ascii_lowercase();
    let no_room = text.contains("quota") || text.contains("storage space") || text.contains("no space left");
    match status {
        413 | 507 => Trouble::NoRoom,
        403 | 409 | 500 | 503 if no_room => Trouble::NoRoom,
        300 | 400 | 401 | 403 | 405 | 406 | 415 | 422 => Trouble::Configuration,
        429 | 500..=599 => Trouble::Unavailable,
        _ => Trouble::Fault,
    }
}

/// The words in an error's body, in any of the ways that services put them there.
pub(super) fn message_of(body: &str, status: u16) -> String {
    if status == 300 {
        return "the service offers a choice of API versions instead of an answer: check the service's address in the catalog"
            .to_owned();
    }
    let words = serde_json::from_str::<Value>(body).ok().and_then(|json| words_of(&json));
    let words = words.unwrap_or_else(|| without_tags(body));
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.is_empty() {
        return format!("no reason given for status {status}");
    }
    match words.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", words.get(..end).unwrap_or_default()),
        None => words,
    }
}

/// `{"badRequest": {"message": ...}}`, `{"NeutronError": {...}}`, `{"message": ...}`, `{"NeutronError": "..."}`.
fn words_of(json: &Value) -> Option<String> {
    let object = json.as_object()?;
    let direct = ["message", "title", "detail"].iter().find_map(|key| object.get(*key)?.as_str());
    if let Some(words) = direct {
        return Some(words.to_owned());
    }
    object.values().find_map(|value| value.as_str().map(str::to_owned).or_else(|| words_of(value)))
}

/// A page of Glance's or of a proxy's, as text; its head says what the body does.
fn without_tags(page: &str) -> String {
    let page = page.split_once("</head>").map_or(page, |(_, body)| body);
    let mut text = String::new();
    let mut inside = false;
    for c in page.chars().take(16 * LONGEST) {
        match c {
            '<' => inside = true,
            '>' if inside => {
                inside = false;
                text.push(' ');
            }
            _ if inside => {}
            _ => text.push(c),
        }
    }
    text
}

/// How long a service asks us to wait.
pub(super) fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Some((date.with_timezone(&Utc) - now).to_std().unwrap_or_default())
}

/// The reasons of an error of the HTTP client, the innermost last; it leaves them out of its own text.
pub(super) fn with_reasons(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(reason) = source {
        let words = reason.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = reason.source();
    }
    text
}

/// Why the certificate of who answered was not trusted, if that is what went wrong: no repetition helps.
pub(super) fn distrust(error: &reqwest::Error) -> Option<String> {
    let mut source = std::error::Error::source(error);
    while let Some(reason) = source {
        if let Some(rustls::Error::InvalidCertificate(why)) = reason.downcast_ref() {
            return Some(why.to_string());
        }
        // What an I/O error wraps is not its source, but its source's parent.
        let wrapped = reason.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        source = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => reason.source(),
        };
    }
    None
}

/// What went wrong without where: whoever tells an incident says what was asked, and has little room.
fn without_address(why: &str) -> &str {
    let reasons = why.strip_prefix("error sending request for url (").and_then(|rest| rest.split_once("): "));
    reasons.map_or(why, |(_, reasons)| reasons)
}

/// A text of an answer; empty when it is not there.
pub(super) fn text<'a>(json: &'a Value, key: &str) -> &'a str {
    json.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The list that an answer must have under `key`. One without it is no answer of this service's, and no empty list.
pub(super) fn listed<'a>(json: &'a Value, key: &str) -> Result<&'a [Value], ApiError> {
    let found = json.get(key).and_then(Value::as_array);
    found.map(Vec::as_slice).ok_or_else(|| {
        let message = format!(
            "the answer has no list `{key}`, so it is not this service's: check the service's address in the catalog"
        );
        CloudError::new(Trouble::Configuration, message).into()
    })
}

/// A list of an answer; empty when it is not there.
pub(super) fn list<'a>(json: &'a Value, key: &str) -> &'a [Value] {
    json.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_found_however_they_are_wrapped() {
        for (body, expected) in [
            (
                r#"{"badRequest": {"code": 400, "message": "Flavor's disk is too small"}}"#,
                "Flavor's disk is too small",
            ),
            (r#"{"NeutronError": {"type": "X", "message": "gone", "detail": ""}}"#, "gone"),
            (r#"{"error": {"code": 401, "message": "log in", "title": "Unauthorized"}}"#, "log in"),
            (r#"{"NeutronError": "plain"}"#, "plain"),
            (
                "<html><head><title>409 Conflict</title></head><body><h1>409 Conflict</h1>In use<br /></body></html>",
                "409 Conflict In use",
            ),
            ("", "no reason given for status 503"),
            ("upstream connect error", "upstream connect error"),
        ] {
            assert_eq!(message_of(body, 503), expected);
        }
        assert!(message_of(&"é".repeat(5000), 500).chars().count() <= LONGEST + 1);
    }

    #[test]
    fn an_incident_has_the_reason_and_not_the_address() {
        let sent =
            "error sending request for url (http://c/v2/images?name=%5Ex): connection closed: os error 104";
        assert_eq!(ApiError::Lost(sent.to_owned()).briefly(), "connection closed: os error 104");
        assert_eq!(ApiError::Lost("no answer in time".to_owned()).briefly(), "no answer in time");
    }

    #[test]
    fn after_an_attempt_in_doubt_nothing_is_certain() {
        for error in [ApiError::refused(403, "no"), ApiError::Unreachable("nobody listens".to_owned())] {
            assert!(error.had_no_effect());
            assert!(!error.in_doubt().had_no_effect());
        }
    }

    #[test]
    fn statuses_become_troubles() {
        for (status, message, expected) in [
            (
                403,
                "Quota exceeded for instances: Requested 1, but already used 1 of 1 instances",
                Trouble::NoRoom,
            ),
            (409, "Quota exceeded for resources: ['security_group'].", Trouble::NoRoom),
            (413, "", Trouble::NoRoom),
            (403, "You are not authorized to complete publicize_image action.", Trouble::Configuration),
            (400, "Flavor's disk is too small for requested image.", Trouble::Configuration),
            (404, "No image found", Trouble::Fault),
            (409, "Image is in use", Trouble::Fault),
            (500, "boom", Trouble::Unavailable),
            (503, "", Trouble::Unavailable),
        ] {
            assert_eq!(trouble(status, message), expected, "{status} {message}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let mut headers = HeaderMap::new();
        let now = DateTime::parse_from_rfc3339("2026-11-23T10:00:00Z").unwrap().with_timezone(&Utc);
        assert_eq!(retry_after(&headers, now), None);
        headers.insert(RETRY_AFTER, "7".parse().unwrap());
        assert_eq!(retry_after(&headers, now), Some(Duration::from_secs(7)));
        headers.insert(RETRY_AFTER, "Mon, 23 Nov 2026 10:00:09 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers, now), Some(Duration::from_secs(9)));
        headers.insert(RETRY_AFTER, "Mon, 23 Nov 2026 09:00:00 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers, now), Some(Duration::ZERO));
    }
}
