//! What a script's failure says for which no cause is known.
//!
//! The list of known causes is never whole. So a script that fails in another way, in a build that is defined as one
//! that passed, says nothing about the image yet: something outside may have changed. It is built once more by itself
//! (`history/follow_up.rs` owes that in the commit that ends the build), and only the same failure twice is the image's.

use super::driver::Driver;
use super::failure::Failure;
use crate::builder::{BuilderError, HOOK_FAILED};
use crate::history::{Defined, DefinitionPast, UNEXPLAINED};

/// Judges a build that disk-image-builder did not finish. `definition`: what it was defined by, where it came so
/// far that this is known.
pub(super) async fn judge(
    driver: &Driver,
    error: BuilderError,
    definition: Option<&Defined>,
) -> Result<Failure, Failure> {
    let Some(definition) = definition.filter(|_| error.reason == HOOK_FAILED) else {
        return Ok(error.into());
    };
    let history = driver.manager.history();
    history.record_definition(&driver.id, definition, Some(&error.message)).await?;
    Ok(verdict(error, history.definition_past(&driver.id).await?))
}

/// By what came of earlier builds with the same definition. Pure.
fn verdict(mut error: BuilderError, past: DefinitionPast) -> Failure {
    let Some(passed) = past.passed else { return error.into() };
    let unchanged = format!("nothing in the definition has changed since build {passed} passed");
    let said = std::mem::take(&mut error.evidence);
    let evidence = |note: String| if said.is_empty() { note } else { format!("{note}\n{said}") };
    if let Some(alike) = past.alike {
        let note = evidence(format!("{unchanged}, and build {alike} failed in the same way"));
        let message = format!("{}, as in build {alike} before, though {unchanged}", error.message);
        return Failure::failed(error.reason, message).with_evidence(note);
    }
    let message = match past.second_of {
        Some(first) => format!(
            "{}, and build {first} in another way, though {unchanged}: it is unknown whether the image is to blame",
            error.message
        ),
        None => format!(
            "{}, though {unchanged}: it has to be built once more, and only when it fails in the same way again is \
             the image to blame",
            error.message
        ),
    };
    Failure::errored(UNEXPLAINED, message).with_evidence(evidence(unchanged))
}

#[cfg(test)]
mod tests {
    use image_manager_proto::v1::Verdict;

    use super::*;

    fn of(passed: Option<&str>, alike: Option<&str>, second_of: Option<&str>) -> Failure {
        let error = BuilderError {
            reason: HOOK_FAILED,
            image_at_fault: true,
            message: "element web: install.d/50-web failed with exit code 3".to_owned(),
            evidence: "no".to_owned(),
        };
        let owned = |text: Option<&str>| text.map(str::to_owned);
        verdict(
            error,
            DefinitionPast { passed: owned(passed), alike: owned(alike), second_of: owned(second_of) },
        )
    }

    #[test]
    fn only_the_same_failure_twice_is_the_images() {
        let never_passed = of(None, Some("f"), Some("f"));
        assert_eq!((never_passed.verdict, never_passed.reason.as_str()), (Verdict::Failed, HOOK_FAILED));
        assert_eq!(never_passed.evidence, "no");

        let first = of(Some("p"), None, None);
        assert_eq!((first.verdict, first.reason.as_str()), (Verdict::Errored, UNEXPLAINED));
        assert!(first.message.contains("since build p passed: it has to be built once more"), "{first:?}");

        let second = of(Some("p"), Some("f"), Some("f"));
        assert_eq!((second.verdict, second.reason.as_str()), (Verdict::Failed, HOOK_FAILED));
        let note =
            "nothing in the definition has changed since build p passed, and build f failed in the same way";
        assert_eq!(second.evidence, format!("{note}\nno"));

        let otherwise = of(Some("p"), None, Some("f"));
        assert_eq!((otherwise.verdict, otherwise.reason.as_str()), (Verdict::Errored, UNEXPLAINED));
        assert!(otherwise.message.ends_with("it is unknown whether the image is to blame"), "{otherwise:?}");
    }
}
