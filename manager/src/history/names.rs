//! The words that enumerations of the interface have in the database, in JSON and on the command line: the
//! protobuf name in lower case without its prefix.

use image_manager_proto::v1;

/// An enumeration of the interface whose values have words.
pub trait Named: Sized + Copy + 'static {
    /// All values but the unspecified one, with their words.
    const WORDS: &'static [(Self, &'static str)];

    /// The word of this value; empty when unspecified.
    fn word(self) -> &'static str
    where
        Self: PartialEq,
    {
        Self::WORDS.iter().find(|(value, _)| *value == self).map_or("", |(_, word)| word)
    }

    /// The value with this word.
    fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, known)| *known == word).map(|(value, _)| *value)
    }
}

/// The states in which builds and trials have ended, as a list of SQL. The index of unfinished builds has the same one:
/// SQLite takes it for a question only that is worded as its condition is.
pub(super) const ENDS: &str = "('succeeded', 'failed', 'errored', 'cancelled', 'skipped')";

/// True when the build has ended.
pub fn build_has_ended(state: v1::BuildState) -> bool {
    use v1::BuildState as S;
    matches!(state, S::Succeeded | S::Failed | S::Errored | S::Cancelled | S::Skipped)
}

/// True when the trial has ended.
pub fn trial_has_ended(state: v1::TrialState) -> bool {
    use v1::TrialState as S;
    matches!(state, S::Succeeded | S::Failed | S::Errored | S::Cancelled | S::Skipped)
}

impl Named for v1::BuildState {
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::Queued, "queued"),
        (Self::Building, "building"),
        (Self::Trying, "trying"),
        (Self::Publishing, "publishing"),
        (Self::CleaningUp, "cleaning_up"),
        (Self::Succeeded, "succeeded"),
        (Self::Failed, "failed"),
        (Self::Errored, "errored"),
        (Self::Cancelled, "cancelled"),
        (Self::Skipped, "skipped"),
    ];
}

impl Named for v1::TrialState {
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::Waiting, "waiting"),
        (Self::Uploading, "uploading"),
        (Self::Booting, "booting"),
        (Self::Verifying, "verifying"),
        (Self::CleaningUp, "cleaning_up"),
        (Self::Succeeded, "succeeded"),
        (Self::Failed, "failed"),
        (Self::Errored, "errored"),
        (Self::Cancelled, "cancelled"),
        (Self::Skipped, "skipped"),
    ];
}

impl Named for v1::PublicationState {
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::Current, "current"),
        (Self::Previous, "previous"),
        (Self::Revoked, "revoked"),
        (Self::Removed, "removed"),
    ];
}

impl Named for v1::PublicationKind {
    const WORDS: &'static [(Self, &'static str)] =
        &[(Self::Published, "published"), (Self::RolledBack, "rolled_back"), (Self::Promoted, "promoted")];
}

impl Named for v1::Verdict {
    const WORDS: &'static [(Self, &'static str)] =
        &[(Self::Passed, "passed"), (Self::Failed, "failed"), (Self::Errored, "errored")];
}

impl Named for v1::Trigger {
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::Cron, "cron"),
        (Self::Grpc, "grpc"),
        (Self::Cli, "cli"),
        (Self::Web, "web"),
        (Self::Retry, "retry"),
    ];
}

impl Named for v1::StageState {
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::Pending, "pending"),
        (Self::Running, "running"),
        (Self::Done, "done"),
        (Self::Failed, "failed"),
        (Self::Skipped, "skipped"),
    ];
}

impl Named for v1::CheckOutcome {
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::Pass, "pass"),
        (Self::Fail, "fail"),
        (Self::Inconclusive, "inconclusive"),
        (Self::Skipped, "skipped"),
    ];
}

impl Named for v1::ControlOutcome {
    const WORDS: &'static [(Self, &'static str)] =
        &[(Self::Passed, "passed"), (Self::Failed, "failed"), (Self::Unknown, "unknown")];
}

impl Named for v1::PathFate {
    const WORDS: &'static [(Self, &'static str)] =
        &[(Self::Removed, "removed"), (Self::Absent, "absent"), (Self::Kept, "kept")];
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words are the protobuf names in lower case without their prefix: nothing else may drift in.
    #[test]
    fn the_ends_are_the_same_in_sql() {
        fn list<E: Named + PartialEq>(has_ended: impl Fn(E) -> bool) -> String {
            let words = E::WORDS.iter().filter(|(state, _)| has_ended(*state));
            format!("({})", words.map(|(_, word)| format!("'{word}'")).collect::<Vec<_>>().join(", "))
        }
        assert_eq!(list(build_has_ended), ENDS);
        assert_eq!(list(trial_has_ended), ENDS);
    }

    #[test]
    fn words_are_the_protobuf_names() {
        fn agree<T: Named + PartialEq>(prefix: &str, name: impl Fn(T) -> &'static str) {
            for (value, word) in T::WORDS {
                assert_eq!(name(*value), format!("{prefix}_{}", word.to_uppercase()));
                assert!(T::from_word(word) == Some(*value));
            }
        }
        agree("BUILD_STATE", |value: v1::BuildState| value.as_str_name());
        agree("TRIAL_STATE", |value: v1::TrialState| value.as_str_name());
        agree("VERDICT", |value: v1::Verdict| value.as_str_name());
        agree("TRIGGER", |value: v1::Trigger| value.as_str_name());
        agree("STAGE_STATE", |value: v1::StageState| value.as_str_name());
        agree("CHECK_OUTCOME", |value: v1::CheckOutcome| value.as_str_name());
        agree("CONTROL_OUTCOME", |value: v1::ControlOutcome| value.as_str_name());
        agree("PATH_FATE", |value: v1::PathFate| value.as_str_name());
    }
}
