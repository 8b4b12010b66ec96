//! A target that answers in the server, but not over IPv6, which the server has.
//!
//! Where this host has IPv6 and the target answers over it here, it is the image's fault. Everywhere else nobody can
//! tell: many networks announce IPv6 that leads nowhere, and programs get along without it.

use std::time::Duration;

use image_manager_agent::Guest;
use image_manager_agent::checks::internet;
use tokio::time::Instant;

use super::{NetworkCheck, Opinion, Trusted};

/// What looking from here says of targets that did not answer over IPv6.
pub(super) async fn opinion(
    kind: &NetworkCheck,
    failed: Vec<String>,
    host: &Guest,
    trusted: &Trusted,
    patience: Duration,
) -> Opinion {
    let deadline = Instant::now() + patience;
    let (mine, foreign) = trusted.divide(kind, failed, host).await;
    if mine.is_empty() {
        return Opinion::noted(format!("{}, so it is only noted", trusted.why_not_asked(kind, &foreign)));
    }
    if !internet::has_ipv6(host, deadline).await {
        return Opinion::noted("the manager's host has no IPv6, so it is only noted");
    }
    let seen = internet::observe_by_ipv6(mine, host, deadline).await;
    of_seen(&seen)
}

fn of_seen(seen: &[internet::TargetSeen]) -> Opinion {
    match seen.iter().find(|target| target.error.is_empty()) {
        Some(target) => {
            Opinion::blamed(format!("from the manager's host {} answers over IPv6", target.target))
        }
        None => Opinion::noted("nor does it over IPv6 from the manager's host, so it is only noted"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_over_ipv6_from_here_blames_the_image() {
        let target = |error: &str| internet::TargetSeen {
            target: "http://a.example/".to_owned(),
            error: error.to_owned(),
            ..internet::TargetSeen::default()
        };
        let answered = of_seen(&[target("refused"), target("")]);
        assert!(!answered.excused && !answered.passes, "{answered:?}");
        for seen in [vec![target("refused")], Vec::new()] {
            let dead = of_seen(&seen);
            assert!(dead.passes, "{dead:?}");
        }
    }

    #[tokio::test]
    async fn a_host_without_ipv6_cannot_tell() {
        let root = tempfile::tempdir().unwrap();
        let host = Guest::below(root.path());
        let named = vec!["http://192.0.2.7/".to_owned()];
        let kind = NetworkCheck::Internet { targets: named.clone() };
        let patience = Duration::from_millis(900);
        let seen = opinion(&kind, named, &host, &Trusted::default(), patience).await;
        assert!(seen.passes && seen.summary.contains("has no IPv6"), "{}", seen.summary);
        // What only the image names is asked by nobody else.
        let kind = NetworkCheck::Internet { targets: Vec::new() };
        let foreign = vec!["http://a.example/".to_owned()];
        let seen = opinion(&kind, foreign, &host, &Trusted::default(), patience).await;
        assert!(
            seen.passes && seen.summary.contains("only the image names http://a.example/"),
            "{}",
            seen.summary
        );
    }
}
