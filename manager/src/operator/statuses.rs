//! What becomes of an error at the control service, and what is refused there.

use prost_types::Timestamp;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use super::access::TokenError;
use super::when;
use crate::clock::{self, milliseconds};
use crate::cloud::Trouble;
use crate::history::HistoryError;
use crate::lifecycle::TriggerError;

/// How far a client's clock may be ahead, in milliseconds: whoever asks for what is since now is not refused for it.
const CLOCKS_DIFFER_MS: i64 = 60_000;

/// The status of a token that cannot be made or revoked.
pub(super) fn token_status(error: TokenError) -> Status {
    let text = error.to_string();
    match error {
        TokenError::Name(_) | TokenError::Lifetime => Status::invalid_argument(text),
        TokenError::OfFile => Status::failed_precondition(text),
        TokenError::Randomness(_) => Status::internal(text),
        TokenError::History(error) => history_status(error),
    }
}

/// The status of a refused trigger.
pub(super) fn trigger_status(error: TriggerError) -> Status {
    let text = error.to_string();
    match error {
        TriggerError::NoSchedule(_) => Status::not_found(text),
        TriggerError::NoCloud(_) | TriggerError::NotPublished { .. } => Status::failed_precondition(text),
        TriggerError::AlreadyRunning { build_id, .. } => {
            let mut metadata = MetadataMap::new();
            if let Ok(value) = MetadataValue::try_from(build_id) {
                metadata.insert("build-id", value);
            }
            Status::with_metadata(Code::AlreadyExists, text, metadata)
        }
        TriggerError::Stopping => Status::unavailable(text),
        TriggerError::Cloud { error, .. } => match error.trouble {
            Trouble::Configuration => Status::failed_precondition(text),
            Trouble::NoRoom => Status::resource_exhausted(text),
            Trouble::Unavailable | Trouble::Timeout | Trouble::Fault | Trouble::Corrupt => {
                Status::unavailable(text)
            }
        },
        TriggerError::History(error) => history_status(error),
    }
}

/// The rows of a page that a request asks for: `usual` when it does not say.
pub(super) fn page_size(asked: u32, usual: u32, most: u32) -> Result<u32, Status> {
    match asked {
        0 => Ok(usual),
        _ if asked > most => {
            Err(Status::invalid_argument(format!("page_size {asked}: expected at most {most}")))
        }
        _ => Ok(asked),
    }
}

/// Refuses a list of what is since a time that is still to come: it would be empty.
pub(super) fn expect_past(since: Option<&Timestamp>) -> Result<(), Status> {
    let now = clock::now().timestamp_millis();
    if since.is_some_and(|since| milliseconds(since) > now.saturating_add(CLOCKS_DIFFER_MS)) {
        let since = when::exact(since);
        return Err(Status::invalid_argument(format!("since {since}: expected a time that has passed")));
    }
    Ok(())
}

/// The status of a failed question to the history.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn history_status(error: HistoryError) -> Status {
    let text = error.to_string();
    match error {
        HistoryError::NoBuild(_) | HistoryError::NoToken(_) => Status::not_found(text),
        HistoryError::Ambiguous { .. } => Status::invalid_argument(text),
        HistoryError::NameBusy { .. } | HistoryError::Overtaken { .. } => Status::aborted(text),
        HistoryError::Unfinished(_) | HistoryError::TokenThere(_) => Status::already_exists(text),
        HistoryError::TooMuch { .. } | HistoryError::TooManyTokens { .. } => Status::resource_exhausted(text),
        _ => Status::internal(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::CloudError;

    #[test]
    fn what_is_since_a_time_to_come_is_refused() {
        let ahead = |ms: i64| clock::timestamp(clock::now().timestamp_millis() + ms);
        for past in [None, Some(ahead(-1)), Some(ahead(1_000)), Some(Timestamp::default())] {
            assert!(expect_past(past.as_ref()).is_ok(), "{past:?}");
        }
        let status = expect_past(Some(&ahead(3_600_000))).unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().ends_with("expected a time that has passed"), "{}", status.message());
    }

    #[test]
    fn only_what_the_user_must_change_is_a_precondition() {
        let code = |trouble| {
            let error = CloudError::new(trouble, "x");
            trigger_status(TriggerError::Cloud { cloud: "c".to_owned(), error }).code()
        };
        assert_eq!(code(Trouble::Configuration), Code::FailedPrecondition);
        assert_eq!(code(Trouble::NoRoom), Code::ResourceExhausted);
        for trouble in [Trouble::Unavailable, Trouble::Timeout, Trouble::Fault, Trouble::Corrupt] {
            assert_eq!(code(trouble), Code::Unavailable, "{trouble:?}");
        }
    }
}
