//! What was seen of the targets means.

use image_manager_proto::v1::CheckOutcome;
use serde_json::{Value as Json, json};

use super::{OF_THE_IMAGE, Observation, Settings, Target, TargetSeen, UNREACHED, UNREACHED_BY_IPV6};
use crate::checks::{Judgement, boot};
use crate::text;

/// What an observation means.
pub fn judge(settings: &Settings, seen: &Observation) -> Judgement {
    let asked: Vec<&TargetSeen> = seen.targets.iter().filter(|target| !target.not_asked).collect();
    let bad: Vec<&TargetSeen> = asked.iter().copied().filter(|target| !target.is_reached()).collect();
    let dead: Vec<&TargetSeen> = seen.by_ipv6.iter().filter(|target| !target.error.is_empty()).collect();
    let names = |all: &[&TargetSeen]| all.iter().map(|target| target.target.clone()).collect::<Vec<_>>();
    let store = seen.certificates.fault(settings.certificates);
    let observed = json!({
        "targets": seen.targets.iter().map(target_as_json).collect::<Vec<_>>(),
        UNREACHED: names(&bad),
        UNREACHED_BY_IPV6: names(&dead),
        OF_THE_IMAGE: store.is_some() && !seen.certificates.unsettled,
        "ipv6": seen.ipv6,
        "by_ipv6": seen.by_ipv6.iter().map(target_as_json).collect::<Vec<_>>(),
        "certificate_authorities": seen.certificates.authorities,
        "certificates": seen.certificates.place,
        "waited_seconds": seen.waited.as_secs_f64(),
    });
    let after = text::seconds(seen.waited);
    let verb = |all: &[&TargetSeen]| if all.len() == 1 { "does" } else { "do" };
    // Without authorities the image is at fault, whatever becomes of its targets.
    let (outcome, summary) = if let Some(fault) = store {
        boot::unless_unsettled(seen.certificates.unsettled, (CheckOutcome::Fail, fault))
    } else if asked.is_empty() {
        (CheckOutcome::Skipped, nothing_asked(seen))
    } else if let Some(first) = bad.first() {
        let why = match first.status {
            Some(status) => format!("it answers {status}"),
            None => first.error.clone(),
        };
        let which = text::list(&names(&bad));
        (CheckOutcome::Fail, format!("{which} {} not answer after {after}: {why}", verb(&bad)))
    } else if let Some(first) = dead.first() {
        let summary = format!(
            "{} {} not answer over IPv6, though the server has an IPv6 address and a default route: {} (ipv6 = false in \
             checks.internet if this network leads nowhere)",
            text::list(&names(&dead)),
            verb(&dead),
            first.error
        );
        (CheckOutcome::Fail, summary)
    } else {
        (CheckOutcome::Pass, reached(&asked, seen))
    };
    Judgement::new(outcome, summary, &observed)
}

fn reached(asked: &[&TargetSeen], seen: &Observation) -> String {
    let by_six = if seen.by_ipv6.is_empty() { "" } else { ", over IPv6 too" };
    match asked {
        [one] => format!("{} answers in {}{by_six}", one.target, text::seconds(one.took)),
        many => format!("all {} targets answer{by_six}", many.len()),
    }
}

/// Why nothing was asked.
fn nothing_asked(seen: &Observation) -> String {
    let Some(first) = seen.targets.first() else { return seen.nothing.clone() };
    let which: Vec<String> = seen.targets.iter().map(|seen| seen.target.clone()).collect();
    let such = seen.targets.iter().find_map(by_address);
    let such = such.map(|such| format!(", {such} if that is intended")).unwrap_or_default();
    format!(
        "none of the image's package sources can be asked ({}): {}; name targets in checks.internet.targets{such}",
        text::list(&which),
        first.error
    )
}

/// A target as the schedule would have to name it: by the address that was not asked.
fn by_address(seen: &TargetSeen) -> Option<String> {
    let target = Target::parse(&seen.target).ok()?;
    let host = seen.address?.ip().to_canonical().to_string();
    Some(Target { host, ..target }.to_string())
}

fn target_as_json(target: &TargetSeen) -> Json {
    json!({
        "target": target.target,
        "address": target.address.map(|address| address.to_string()),
        "status": target.status,
        "milliseconds": u64::try_from(target.took.as_millis()).unwrap_or(u64::MAX),
        "error": target.error,
        "not_asked": target.not_asked,
        "tries": target.tries,
    })
}
