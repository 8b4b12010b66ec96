//! What the ends of a build's trials say of the build. Pure.

use std::collections::{BTreeMap, BTreeSet};

use image_manager_proto::v1::{self, Verdict};

use super::failure::Failure;
use crate::cloud::Image;
use crate::schedules::PublishWhen;

/// How a trial ended.
pub(super) struct Ended {
    /// Name of its target.
    pub(super) target: String,
    pub(super) cloud: String,
    pub(super) required: bool,
    /// Whether its cloud is to get the published name.
    pub(super) publish: bool,
    /// The image in its cloud, when it passed.
    pub(super) image: Option<Image>,
    /// Why it did not pass, and in which stage.
    pub(super) failure: Option<v1::Failure>,
    pub(super) verdict: Verdict,
    /// What people read of the last stage.
    pub(super) detail: String,
}

impl Ended {
    /// As the history has it, with its image in its cloud where that is there and whether it is to be published there.
    pub(super) fn of_record(trial: &v1::Trial, publish: bool, image: Option<Image>) -> Self {
        Self {
            target: trial.target.clone(),
            cloud: trial.cloud.clone(),
            required: trial.required,
            publish,
            image: image.filter(|_| trial.verdict() == Verdict::Passed),
            failure: trial.failure.clone(),
            verdict: trial.verdict(),
            detail: String::new(),
        }
    }
}

/// What comes of a build.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    /// Why it did not pass.
    pub(super) failure: Option<v1::Failure>,
    /// One line for people, of the stage that was the last.
    pub(super) detail: String,
    /// The last stage went wrong, which is not why the build did not pass.
    pub(super) marred: bool,
}

impl Outcome {
    /// Of a build whose own stage went wrong.
    pub(super) fn of(failure: &Failure, stage: &str) -> Self {
        Self {
            verdict: failure.verdict(),
            failure: Some(failure.to_message(stage)),
            detail: failure.message.clone(),
            marred: false,
        }
    }

    /// With what became of publishing, which is never why a build did not pass whose trials had not.
    pub(super) fn after_publishing(self, published: Result<String, Failure>, stage: &str) -> Self {
        match published {
            Ok(detail) => Self { detail, ..self },
            Err(failure) if self.verdict == Verdict::Passed => Self::of(&failure, stage),
            Err(failure) => Self { detail: failure.message, marred: true, ..self },
        }
    }

    /// Whether this stage of the build's own is the one that went wrong.
    pub(super) fn failed_in(&self, stage: &str) -> bool {
        self.marred || self.failure.as_ref().is_some_and(|failure| failure.stage == stage)
    }
}

/// A build passes when every required trial passed, fails when one failed, and errors when one errored and none failed.
/// One that somebody cancelled has no verdict unless a trial had failed by then.
pub(super) fn sum_up(trials: &[Ended]) -> Outcome {
    let required = || trials.iter().filter(|trial| trial.required);
    let worst = [Verdict::Failed, Verdict::Unspecified, Verdict::Errored]
        .into_iter()
        .find_map(|verdict| required().find(|trial| trial.verdict == verdict));
    let Some(worst) = worst else {
        return Outcome { verdict: Verdict::Passed, failure: None, detail: detail(trials), marred: false };
    };
    let failure = worst.failure.clone().map(|mut failure| {
        if trials.len() > 1 {
            failure.message = format!("target {}: {}", worst.target, failure.message);
        }
        failure
    });
    Outcome { verdict: worst.verdict, failure, detail: detail(trials), marred: false }
}

/// The clouds that get the published name, each with its image: those where a target that is to be published passed and
/// every required trial did; by [`PublishWhen::All`] none when a required trial of the build did not.
pub(super) fn to_publish(when: PublishWhen, trials: &[Ended]) -> BTreeMap<&str, &Image> {
    let not_passed = trials.iter().filter(|trial| trial.required && trial.verdict != Verdict::Passed);
    let spoilt: BTreeSet<&str> = not_passed.map(|trial| trial.cloud.as_str()).collect();
    if when == PublishWhen::All && !spoilt.is_empty() {
        return BTreeMap::new();
    }
    let passed = trials.iter().filter(|trial| trial.publish && trial.verdict == Verdict::Passed);
    passed
        .filter(|trial| !spoilt.contains(trial.cloud.as_str()))
        .filter_map(|trial| Some((trial.cloud.as_str(), trial.image.as_ref()?)))
        .collect()
}

fn detail(trials: &[Ended]) -> String {
    match trials {
        [only] => only.detail.clone(),
        several => {
            let passed = several.iter().filter(|trial| trial.verdict == Verdict::Passed).count();
            format!("{passed} of {} trials passed", several.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;

    /// A required trial of a target on the cloud before its dash.
    fn ended(target: &str, verdict: Verdict) -> Ended {
        let image = Image {
            id: format!("{target}'s"),
            name: target.to_owned(),
            sha512: String::new(),
            size_bytes: 0,
            virtual_size_bytes: 0,
        };
        let failure = v1::Failure { reason: "agent_silent".to_owned(), ..v1::Failure::default() };
        Ended {
            target: target.to_owned(),
            cloud: target.split('-').next().unwrap_or_default().to_owned(),
            required: true,
            publish: true,
            image: (verdict == Verdict::Passed).then_some(image),
            failure: (verdict != Verdict::Passed).then_some(failure),
            verdict,
            detail: String::new(),
        }
    }

    fn optional(trial: Ended) -> Ended {
        Ended { required: false, ..trial }
    }

    fn kept(trial: Ended) -> Ended {
        Ended { publish: false, ..trial }
    }

    /// The clouds that are published on by `all` and by `each`.
    fn clouds(trials: &[Ended]) -> [String; 2] {
        [PublishWhen::All, PublishWhen::Each].map(|when| {
            let clouds: Vec<_> = to_publish(when, trials).into_keys().collect();
            clouds.join(" ")
        })
    }

    #[test]
    fn what_is_published_where() {
        let (passed, failed) = (|name| ended(name, Verdict::Passed), |name| ended(name, Verdict::Failed));
        let errored = |name| ended(name, Verdict::Errored);
        assert_eq!(clouds(&[passed("a"), passed("b")]), ["a b", "a b"]);
        assert_eq!(clouds(&[passed("a"), failed("b")]), ["", "a"]);
        assert_eq!(clouds(&[passed("a"), errored("b")]), ["", "a"]);
        assert_eq!(clouds(&[passed("a"), ended("b", Verdict::Unspecified)]), ["", "a"]);
        // Each required trial of a cloud counts for it, whether its own target is to be published or not.
        assert_eq!(clouds(&[passed("a-1"), failed("a-2"), passed("b")]), ["", "b"]);
        assert_eq!(clouds(&[passed("a-1"), kept(failed("a-2"))]), ["", ""]);
        assert_eq!(clouds(&[passed("a-1"), kept(passed("a-2")), kept(passed("b"))]), ["a", "a"]);
        // What is not required holds nothing up, and is published only where something passed.
        assert_eq!(clouds(&[passed("a"), optional(failed("b"))]), ["a", "a"]);
        assert_eq!(clouds(&[passed("a-1"), optional(failed("a-2"))]), ["a", "a"]);
        assert_eq!(clouds(&[kept(passed("a-1")), optional(failed("a-2"))]), ["", ""]);
    }

    #[test]
    fn a_failed_trial_stays_the_reason_when_publishing_goes_wrong_too() {
        let broken = || Failure::new(Reason::PublishFailed, "no");
        let failed = sum_up(&[ended("a", Verdict::Passed), ended("b", Verdict::Failed)]);
        assert!(!failed.failed_in("publishing"));
        let both = failed.after_publishing(Err(broken()), "publishing");
        assert_eq!((both.verdict, both.detail.as_str()), (Verdict::Failed, "no"));
        assert!(both.failed_in("publishing") && both.failure.is_some_and(|why| why.reason == "agent_silent"));
        let passed = sum_up(&[ended("a", Verdict::Passed), optional(ended("b", Verdict::Failed))]);
        assert_eq!(passed.verdict, Verdict::Passed);
        let unpublished = passed.after_publishing(Err(broken()), "publishing");
        assert_eq!(unpublished.verdict, Verdict::Errored);
        assert!(unpublished.failed_in("publishing"));
    }
}
