//! What a script's failure says for which no cause is known.
//!
//! The list of known causes is never whole. So a script that fails in another way, in a build that is defined as one
//! that passed, says nothing about the image yet: something outside may have changed. It is built once more by itself
//! (`history/follow_up.rs` owes that in the commit that ends the build), and only the same failure twice is the image's.

use super::driver::Driver;
use super::failure::Failure;
use crate::builder::BuilderError;
use crate::history::{Defined, DefinitionPast};
use crate::reason::Reason;

/// Judges a build that disk-image-builder did not finish. `definition`: what it was defined by, where it came so
/// far that this is known.
pub(super) async fn judge(
    driver: &Driver,
    error: BuilderError,
    definition: Option<&Defined>,
) -> Result<Failure, Failure> {
    let Some(definition) = definition.filter(|_| error.reason == Reason::DibHookFailed) else {
        return Ok(error.into());
    };
    let history = driver.history();
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
        return Failure::new(error.reason, message).with_evidence(note);
    }
    let message = match past.second_of {
        Some(first) => {
            format!("{}, and build {first} failed in another way, though {unchanged}", error.message)
        }
        None => format!("{}, though {unchanged}", error.message),
    };
    Failure::new(Reason::DibHookUnexplained, message).with_evidence(evidence(unchanged))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(passed: Option<&str>, alike: Option<&str>, second_of: Option<&str>) -> Failure {
        let error = BuilderError {
            reason: Reason::DibHookFailed,
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
        assert_eq!(never_passed.reason, Reason::DibHookFailed);
        assert_eq!(never_passed.evidence, "no");

        let first = of(Some("p"), None, None);
        assert_eq!(first.reason, Reason::DibHookUnexplained);
        assert!(
            first
                .message
                .ends_with("exit code 3, though nothing in the definition has changed since build p passed"),
            "{first:?}"
        );

        let second = of(Some("p"), Some("f"), Some("f"));
        assert_eq!(second.reason, Reason::DibHookFailed);
        let note =
            "nothing in the definition has changed since build p passed, and build f failed in the same way";
        assert_eq!(second.evidence, format!("{note}\nno"));

        let otherwise = of(Some("p"), None, Some("f"));
        assert_eq!(otherwise.reason, Reason::DibHookUnexplained);
        assert!(
            otherwise.message.contains("exit code 3, and build f failed in another way, though"),
            "{otherwise:?}"
        );
    }
}
