//! Whose fault silence is, by how the images ended. Pure.

use std::time::Duration;

use image_manager_proto::counted;
use image_manager_proto::v1::ControlOutcome;

use crate::history::{ControlAnswer, ControlRecord};
use crate::lifecycle::failure::Failure;
use crate::reason::Reason;

/// Endings that may be the image's fault as well as the cloud's.
const SILENCE: [Reason; 5] = [
    Reason::AgentSilent,
    Reason::AgentLost,
    Reason::ServerFault,
    Reason::ServerStopped,
    Reason::CheckInconclusive,
];

/// How a second boot ended in which no check of the network was inconclusive any more, but others were: not as the first
/// boot did.
pub(super) const INCONCLUSIVE_OTHERWISE: &str = "check_inconclusive, of other checks";

/// For how long it counts, in milliseconds, that a target worked: it may have broken since, and the image must not be
/// blamed for that. That it did not work counts for as long as nobody is asked again.
const WORKED: i64 = 15 * MINUTE;
const MINUTE: i64 = 60 * 1000;

/// A distribution takes about so many times as long as a control image until its agent comes, and more where it is slow.
const LIGHTER: u32 = 8;

/// Whether a control image took so long that another one may not come within `boot`, and be a good one all the same.
pub(super) fn is_slow(took: Duration, boot: Duration) -> bool {
    took.saturating_mul(LIGHTER) > boot
}

/// Whether another image can tell whose fault it is.
pub(super) fn is_silence(failure: &Failure) -> bool {
    SILENCE.contains(&failure.reason)
}

/// What follows from an answer.
#[derive(Debug)]
pub(super) enum Next {
    /// The image is booted once more.
    Again,
    /// The trial ends so.
    End(Failure),
}

/// What follows from how another image ended on the target. `now_ms`: since the epoch, as the answer has it.
pub(super) fn after_answer(first: &Failure, answer: &ControlAnswer, now_ms: i64) -> Next {
    let ago = now_ms.saturating_sub(answer.at_ms);
    match answer.outcome {
        ControlOutcome::Passed if (0..=WORKED).contains(&ago) => Next::Again,
        ControlOutcome::Failed => Next::End(cloud_at_fault(first, answer)),
        ControlOutcome::Passed if ago < 0 => Next::End(noted(
            first,
            &format!(
                "{}; but the clock has been set back since, so it is not known how long ago that was, and the image is \
                 not blamed",
                answer.detail
            ),
        )),
        ControlOutcome::Passed => Next::End(noted(
            first,
            &format!(
                "{}; but that was {} ago, too long ago to blame the image; the next control boot can be made {} from \
                 now",
                answer.detail,
                counted(ago / MINUTE, "minute"),
                counted(super::HOUR_MS.saturating_sub(ago).max(0) / MINUTE + 1, "minute")
            ),
        )),
        ControlOutcome::Unknown | ControlOutcome::Unspecified => {
            Next::End(noted(first, &format!("it is not known whose fault that is: {}", answer.detail)))
        }
    }
}

/// What follows when the image was booted once more and did not pass either.
pub(super) fn after_second_boot(first: &Failure, answer: &ControlAnswer, second: Failure) -> Failure {
    if second.reason != first.reason {
        return second;
    }
    let message = format!("twice {}: {}; in between {}", first.reason, second.message, answer.detail);
    // The agent of another build's image may say anything of the network; that it came is seen.
    let is_hearsay = first.reason == Reason::CheckInconclusive && answer.image_of.is_some();
    let (reason, message) = if is_hearsay {
        let why = "that is only that image's own word, and the manager's host did not see it work either: this image is \
                   not blamed";
        (first.reason, format!("{message}; {why}"))
    } else {
        (Reason::ImageAtFault, message)
    };
    Failure::new(reason, message)
        .with_both([("the first boot", &first.evidence), ("the second boot", &second.evidence)])
}

/// What is written down when the one who asks is ended meanwhile: on request, that nothing came of it, so that the next one
/// may ask at once. `None`: the manager stops, and the next manager ends the trial by what is known.
pub(super) fn of_ended(failure: &Failure, asked_by: &str, at_ms: i64) -> Option<ControlAnswer> {
    (failure.reason == Reason::Cancelled).then(|| ControlAnswer {
        outcome: ControlOutcome::Unknown,
        detail: "the build was cancelled before there was an answer".to_owned(),
        evidence: String::new(),
        image_of: None,
        asked_by: asked_by.to_owned(),
        at_ms,
    })
}

/// How a trial ends whose manager was killed while another image was asked, by what is known.
pub(in crate::lifecycle) fn of_record(record: &ControlRecord) -> Failure {
    let first = first_of(record);
    let Some(answer) = &record.answer else {
        return noted(
            &first,
            "the manager was stopped or killed while another image was booted to find out whose fault that is",
        );
    };
    match after_answer(&first, answer, answer.at_ms) {
        Next::End(failure) => failure,
        Next::Again if record.again.as_deref() == Some(first.reason.word()) => {
            after_second_boot(&first, answer, first.clone())
        }
        Next::Again => noted(
            &first,
            &format!(
                "{}, and the manager was stopped or killed before it was known how this image would end a second time",
                answer.detail
            ),
        ),
    }
}

fn first_of(record: &ControlRecord) -> Failure {
    // A word of another version is no known silence: nothing follows from it.
    let reason = Reason::parse(&record.first.reason).unwrap_or(Reason::Interrupted);
    Failure::new(reason, record.first.message.clone()).with_evidence(record.first.evidence.clone())
}

fn cloud_at_fault(first: &Failure, answer: &ControlAnswer) -> Failure {
    let message = format!("{}; {}", first.message, answer.detail);
    Failure::new(Reason::CloudAtFault, message)
        .with_both([("this image", &first.evidence), ("the control boot", &answer.evidence)])
}

/// The same failure, with a remark at the end of its message.
pub(super) fn noted(first: &Failure, remark: &str) -> Failure {
    let message = format!("{}; {remark}", first.message);
    Failure { reason: first.reason, message, evidence: first.evidence.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image_manager_proto::v1;

    fn silent(evidence: &str) -> Failure {
        Failure::new(Reason::AgentSilent, "no agent attached").with_evidence(evidence)
    }

    fn answer(outcome: ControlOutcome) -> ControlAnswer {
        ControlAnswer {
            outcome,
            detail: "the control image's agent came".to_owned(),
            evidence: "its console".to_owned(),
            image_of: None,
            asked_by: "b".to_owned(),
            at_ms: 0,
        }
    }

    fn end(first: &Failure, answer: &ControlAnswer, now_ms: i64) -> Failure {
        match after_answer(first, answer, now_ms) {
            Next::End(failure) => failure,
            Next::Again => panic!("it is booted again"),
        }
    }

    #[test]
    fn a_control_that_says_nothing_blames_the_cloud_with_both_evidences() {
        let failure = end(&silent("first"), &answer(ControlOutcome::Failed), super::super::HOUR_MS);
        assert_eq!(failure.reason, Reason::CloudAtFault);
        assert_eq!(failure.evidence, "this image:\nfirst\n\nthe control boot:\nits console");
    }

    #[test]
    fn that_the_target_worked_counts_for_a_quarter_of_an_hour() {
        let passed = answer(ControlOutcome::Passed);
        assert!(matches!(after_answer(&silent(""), &passed, WORKED), Next::Again));
        let late = end(&silent(""), &passed, WORKED + 1);
        assert_eq!(late.reason, Reason::AgentSilent);
        assert!(
            late.message.contains("15 minutes ago") && late.message.contains("45 minutes from now"),
            "{late:?}"
        );
        let back = end(&silent(""), &passed, -1);
        assert_eq!(back.reason, Reason::AgentSilent);
        assert!(back.message.contains("the clock has been set back"), "{back:?}");
    }

    #[test]
    fn only_the_same_end_again_blames_the_image() {
        let passed = answer(ControlOutcome::Passed);
        let twice = after_second_boot(&silent("first"), &passed, silent("second"));
        assert_eq!(twice.reason, Reason::ImageAtFault);
        assert!(twice.evidence.contains("first") && twice.evidence.contains("second"), "{twice:?}");
        let another = ControlAnswer { image_of: Some("good".to_owned()), ..passed.clone() };
        let twice = after_second_boot(&silent("first"), &another, silent("second"));
        assert_eq!(twice.reason, Reason::ImageAtFault, "that its agent came is seen");
        let other = Failure::new(Reason::ServerStopped, "stopped");
        assert_eq!(after_second_boot(&silent(""), &passed, other).reason, Reason::ServerStopped);
    }

    #[test]
    fn what_another_builds_image_says_of_the_network_blames_no_image() {
        let unreached = |evidence: &str| {
            Failure::new(Reason::CheckInconclusive, "internet: nor from the manager's host")
                .with_evidence(evidence)
        };
        let made_here = answer(ControlOutcome::Passed);
        let twice = after_second_boot(&unreached("first"), &made_here, unreached("second"));
        assert_eq!(twice.reason, Reason::ImageAtFault);
        let published = ControlAnswer { image_of: Some("liar".to_owned()), ..made_here };
        let twice = after_second_boot(&unreached("first"), &published, unreached("second"));
        assert_eq!(twice.verdict(), v1::Verdict::Errored);
        assert!(twice.message.contains("only that image's own word"), "{twice:?}");
        assert_eq!(twice.evidence, "the first boot:\nfirst\n\nthe second boot:\nsecond");
    }

    #[test]
    fn a_question_that_is_cancelled_keeps_nobody_from_asking() {
        let none = of_ended(&Failure::cancelled(), "b", 1).unwrap();
        assert_eq!((none.outcome, none.asked_by.as_str(), none.at_ms), (ControlOutcome::Unknown, "b", 1));
        assert!(none.detail.contains("cancelled"), "{none:?}");
        let stops = Failure::new(Reason::Interrupted, "the manager was told to stop");
        assert_eq!(of_ended(&stops, "b", 1), None);
    }

    #[test]
    fn without_an_answer_the_end_is_what_it_was() {
        let unknown = end(&silent("first"), &answer(ControlOutcome::Unknown), 0);
        assert_eq!((unknown.reason, unknown.evidence.as_str()), (Reason::AgentSilent, "first"));
    }

    #[test]
    fn where_a_control_image_takes_a_minute_ten_are_enough_and_five_are_not() {
        let minutes = Duration::from_mins;
        assert!(!is_slow(minutes(1), minutes(10)) && is_slow(minutes(1), minutes(5)));
    }

    /// A manager that was killed leaves a row at each of its commits.
    #[test]
    fn a_killed_manager_leaves_as_much_as_is_known() {
        let first = silent("first").to_message("booting");
        let record = |answer, again: Option<&str>| ControlRecord {
            first: v1::Failure { ..first.clone() },
            answer,
            again: again.map(str::to_owned),
        };
        let reason = |record| of_record(&record).reason;
        assert_eq!(reason(record(None, None)), Reason::AgentSilent);
        assert_eq!(reason(record(Some(answer(ControlOutcome::Failed)), None)), Reason::CloudAtFault);
        let passed = || Some(answer(ControlOutcome::Passed));
        assert_eq!(reason(record(passed(), None)), Reason::AgentSilent);
        assert_eq!(reason(record(passed(), Some("server_stopped"))), Reason::AgentSilent);
        assert_eq!(reason(record(passed(), Some("agent_silent"))), Reason::ImageAtFault);

        let first = Failure::new(Reason::CheckInconclusive, "internet").to_message("verifying");
        let record = |again: &str| ControlRecord {
            first: v1::Failure { ..first.clone() },
            answer: passed(),
            again: Some(again.to_owned()),
        };
        let reason = |again| of_record(&record(again)).reason;
        assert_eq!(reason("check_inconclusive"), Reason::ImageAtFault);
        assert_eq!(reason(INCONCLUSIVE_OTHERWISE), Reason::CheckInconclusive);
    }
}
