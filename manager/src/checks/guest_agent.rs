//! Check `guest_agent`: QEMU's guest agent answers the hypervisor.

use std::time::Duration;

use image_manager_agent::checks::descriptor::{Check, Key, Observer, Set, ValueType};
use image_manager_proto::v1::CheckOutcome;
use serde::Deserialize;
use serde_json::json;

use super::Judged;
use crate::cloud::GuestAgent;

/// The check.
pub(crate) static CHECK: Check = Check {
    kind: "guest_agent",
    proves: "the QEMU guest agent, if the image has it, answers the hypervisor",
    details: "A cloud uses it to freeze file systems and to set passwords. On `local` the manager asks it through the \
              server's virtio channel, as a hypervisor does; the check `services` looks for its unit from inside. An \
              image without `qemu-ga` passes unless `needed` is set. On a cloud that lets nobody ask, the check passes \
              too. The result says so in both cases.",
    set: Set::Thorough,
    observer: Observer::Manager,
    timeout: Duration::from_mins(1),
    cost: "under a second if it answers",
    repeatable: false,
    keys: &[Key { name: "needed", value: ValueType::Flag, default: "false", help: "the image must have it" }],
    examine: None,
};

/// Its keys.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    needed: bool,
}

/// What came of asking. `installed`: whether the image has it, by the look into the artifact; `None`: that is not known.
/// `Err`: the cloud could not be asked.
pub(crate) fn judge(
    settings: &serde_json::Map<String, serde_json::Value>,
    installed: Option<bool>,
    asked: &Result<GuestAgent, String>,
) -> Judged {
    use CheckOutcome::{Fail, Inconclusive, Pass};
    let settings: Settings = match super::typed(settings) {
        Ok(settings) => settings,
        Err(judged) => return judged,
    };
    let (outcome, summary) = match (asked, installed) {
        (Ok(GuestAgent::Answers), _) => (Pass, "the guest agent answers the hypervisor".to_owned()),
        (_, Some(false)) if settings.needed => {
            (Fail, "the image has no guest agent: install qemu-guest-agent".to_owned())
        }
        (_, Some(false)) => (Pass, "the image has no guest agent: there is nothing to ask".to_owned()),
        (Ok(GuestAgent::NotAsked), _) => {
            (Pass, "this cloud lets nobody else ask the guest agent, so it was not asked".to_owned())
        }
        (Ok(GuestAgent::Silent(why)), Some(true)) => {
            (Fail, format!("the image has a guest agent, but it does not answer the hypervisor: {why}"))
        }
        (Ok(GuestAgent::Silent(why)), None) if settings.needed => {
            (Fail, format!("no guest agent answers the hypervisor: {why}"))
        }
        (Ok(GuestAgent::Silent(_)), None) => {
            (Pass, "no guest agent answers, and it is not known whether the image has one".to_owned())
        }
        (Err(why), _) => (Inconclusive, format!("the guest agent could not be asked: {why}")),
    };
    let answered = match asked {
        Ok(GuestAgent::Answers) => Some(true),
        Ok(GuestAgent::Silent(_)) => Some(false),
        Ok(GuestAgent::NotAsked) | Err(_) => None,
    };
    Judged { outcome, summary, observations: json!({ "installed": installed, "answered": answered }) }
}

/// Whether it is worth asking again: what is installed may yet come up.
pub(crate) fn may_come(installed: Option<bool>, asked: &Result<GuestAgent, String>) -> bool {
    installed == Some(true) && matches!(asked, Ok(GuestAgent::Silent(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_agent_that_is_there_and_silent_is_the_images_fault() {
        use CheckOutcome::{Fail, Inconclusive, Pass};
        let silent = || Ok(GuestAgent::Silent("no answer within 10s".to_owned()));
        let judged = |needed: bool, installed, asked: Result<GuestAgent, String>| {
            let settings = json!({ "needed": needed });
            let judged = judge(settings.as_object().unwrap(), installed, &asked);
            (judged.outcome, judged.summary)
        };
        for (needed, installed, asked, outcome) in [
            (false, Some(true), Ok(GuestAgent::Answers), Pass),
            (true, None, Ok(GuestAgent::Answers), Pass),
            (false, Some(true), silent(), Fail),
            (false, Some(false), silent(), Pass),
            (true, Some(false), silent(), Fail),
            (true, Some(false), Ok(GuestAgent::NotAsked), Fail),
            (false, None, silent(), Pass),
            (true, None, silent(), Fail),
            (false, Some(true), Ok(GuestAgent::NotAsked), Pass),
            (false, Some(true), Err("no server".to_owned()), Inconclusive),
        ] {
            let found = judged(needed, installed, asked.clone());
            assert_eq!(found.0, outcome, "{needed} {installed:?} {asked:?}: {}", found.1);
        }
        let (_, why) = judged(false, Some(true), silent());
        assert!(why.contains("does not answer the hypervisor: no answer within 10s"), "{why}");
    }

    #[test]
    fn only_what_is_installed_is_waited_for() {
        let silent = Ok(GuestAgent::Silent(String::new()));
        assert!(may_come(Some(true), &silent));
        assert!(!may_come(Some(false), &silent) && !may_come(None, &silent));
        assert!(!may_come(Some(true), &Ok(GuestAgent::Answers)));
        assert!(!may_come(Some(true), &Err(String::new())));
    }
}
