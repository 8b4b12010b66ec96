//! `image-manager images`, `rollback`, `promote` and `revoke`: what has which public name.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use image_manager_proto::v1;

use super::arguments::{
    ImagesArguments, OneFormat, PromoteArguments, RevokeArguments, RollbackArguments, ServingArguments,
};
use super::foreground::{Asked, change};
use super::instance::{open_history, there_is_history};
use super::serving::{Answering, find};
use super::table::{self, Column};
use super::text::{self, Painted, Screen, Style};
use super::{Exit, Outcome, Trouble, json, when};
use crate::builder::bytes;
use crate::history::{Handover, Named as _, PublicationFilter};
use crate::operator::publication_state;

/// How long it is waited between two looks at what is under way.
const LOOK: Duration = Duration::from_secs(1);

/// `images`.
pub(crate) async fn list(arguments: ImagesArguments) -> Outcome {
    let history = open_history(&arguments.state.state)?;
    let filter = PublicationFilter {
        name: arguments.name.clone(),
        removed: arguments.removed,
        limit: arguments.limit,
        ..PublicationFilter::default()
    };
    let page = history.publications(filter).await.map_err(Trouble::errored)?;
    let mut copies = history.open_handovers().await.map_err(Trouble::errored)?;
    copies.retain(|open| is_copied_for(open, arguments.name.as_deref()));
    let nothing = page.publications.is_empty() && copies.is_empty();
    if let Some(name) = arguments.name.filter(|_| nothing) {
        let more = if arguments.removed { "" } else { ", with --removed also those of images that are gone" };
        return Err(Trouble::usage(format!(
            "no image is published as {name:?}: `image-manager images` lists the names{more}"
        )));
    }
    match arguments.format {
        OneFormat::Text => {
            text::print(&table(&page.publications, Style::of_stdout()));
            if page.next.is_some() {
                text::remark("there are more: raise --limit");
            }
            for copy in &copies {
                text::remark(&copied(copy));
            }
        }
        OneFormat::Json => text::print_document(&json::messages("Publication", &page.publications)),
    }
    Ok(Exit::Done)
}

/// `rollback`.
pub(crate) async fn roll_back(arguments: RollbackArguments) -> Outcome {
    let request = v1::RollBackRequest {
        name: arguments.name,
        to: arguments.to.unwrap_or_default(),
        cloud: arguments.cloud.unwrap_or_default(),
        why: arguments.reason,
    };
    Ok(told(&match answering(&arguments.serving).await? {
        Answering::Manager { mut client, .. } => client.roll_back(request).await?,
        Answering::History(history, lock) => change(history, lock, Asked::RollBack(request)).await?,
    }))
}

/// `promote`.
pub(crate) async fn promote(arguments: PromoteArguments) -> Outcome {
    let request = v1::PromoteBuildRequest {
        build: arguments.build,
        name: arguments.name,
        cloud: arguments.cloud.unwrap_or_default(),
        why: arguments.reason,
    };
    let (state, name) = (arguments.serving.state.state.clone(), request.name.clone());
    Ok(told(&match answering(&arguments.serving).await? {
        Answering::Manager { mut client, .. } => tokio::select! {
            promoted = client.promote(request) => promoted?,
            never = say_when_copied(&state, &name) => match never {},
        },
        Answering::History(history, lock) => change(history, lock, Asked::Promote(request)).await?,
    }))
}

/// Says it once if an image is copied for a name, which takes minutes. Never comes back.
async fn say_when_copied(state: &Path, name: &str) -> Infallible {
    loop {
        tokio::time::sleep(LOOK).await;
        // Whoever may not read the history waits without a word.
        let Ok(history) = open_history(state) else { break };
        let Ok(open) = history.open_handovers().await else { break };
        if let Some(copy) = open.iter().find(|open| is_copied_for(open, Some(name))) {
            let how = "The manager goes on if you do not wait: `image-manager images` says when it is done, its log how far it is";
            text::remark(&format!("{}. {how}", copied(copy)));
            break;
        }
    }
    std::future::pending().await
}

fn is_copied_for(open: &Handover, name: Option<&str>) -> bool {
    open.what.copied && name.is_none_or(|name| name == open.what.name)
}

/// What is under way with a name that goes to a copy.
fn copied(Handover { what, .. }: &Handover) -> String {
    format!(
        "the image of build {} is being copied to be {} on {}, where an image has one name",
        what.to_build.as_deref().unwrap_or_default(),
        what.name,
        what.cloud
    )
}

/// `revoke`.
pub(crate) async fn revoke(arguments: RevokeArguments) -> Outcome {
    let request = v1::RevokeBuildRequest {
        build: arguments.build,
        reason: arguments.reason,
        cloud: arguments.cloud.unwrap_or_default(),
    };
    Ok(told(&match answering(&arguments.serving).await? {
        Answering::Manager { mut client, .. } => client.revoke(request).await?,
        Answering::History(history, lock) => change(history, lock, Asked::Revoke(request)).await?,
    }))
}

/// Who answers for a state directory in which something was built.
async fn answering(arguments: &ServingArguments) -> Result<Answering, Trouble> {
    there_is_history(&arguments.state.state)?;
    find(arguments, false).await
}

fn told(images: &[v1::Publication]) -> Exit {
    text::print(&table(images, Style::of_stdout()));
    Exit::Done
}

const NAME: Column<v1::Publication> = ("NAME", |image| image.name.clone());
const CLOUD: Column<v1::Publication> = ("CLOUD", |image| image.cloud.clone());
/// Why it is held is in the widest layout and in JSON.
const STATE: Column<v1::Publication> = ("STATE", |image| {
    let held = if image.held.is_empty() { "" } else { ", held" };
    format!("{}{held}", publication_state(image))
});
const BUILD: Column<v1::Publication> = ("BUILD", |image| image.build_id.clone());
/// Enough of it to name a build: the time, and twelve bits of chance.
const SHORT_BUILD: Column<v1::Publication> = ("BUILD", |image| image.build_id.chars().take(18).collect());
const SINCE: Column<v1::Publication> = ("SINCE", |image| when::ago(image.published_at.as_ref()));
const VERIFIED: Column<v1::Publication> = ("VERIFIED", verified);
/// When a build would last have made the same image.
const CONFIRMED: Column<v1::Publication> = ("CONFIRMED", |image| when::ago(image.confirmed_at.as_ref()));
const SIZE: Column<v1::Publication> = ("SIZE", |image| bytes(image.size_bytes));
const HASH: Column<v1::Publication> = ("SHA-512", |image| image.sha512.chars().take(12).collect());
const BY: Column<v1::Publication> = ("BY", |image| image.published_by.clone());
const WHY: Column<v1::Publication> = ("HOW", how);
const WHERE: Column<v1::Publication> = ("WHERE", |image| image.location.clone());

/// How it was verified last, and when.
fn verified(image: &v1::Publication) -> String {
    match image.verified_verdict() {
        v1::Verdict::Unspecified => "-".to_owned(),
        verdict => format!("{} {}", verdict.word(), when::ago(image.verified_at.as_ref())),
    }
}

/// How it got the name, or why it was revoked; and why it is there still though nothing keeps it.
fn how(image: &v1::Publication) -> String {
    let how = how_it_came(image);
    if image.held.is_empty() { how } else { format!("{how}; held: {}", image.held) }
}

fn how_it_came(image: &v1::Publication) -> String {
    if image.state() == v1::PublicationState::Revoked {
        return format!("revoked by {}: {}", image.revoked_by, image.revoked_reason);
    }
    if image.revoked_at.is_some() && image.state() != v1::PublicationState::Removed {
        return format!("to be revoked, by {}: {}", image.revoked_by, image.revoked_reason);
    }
    let kind = image.kind().word().replace('_', " ");
    if image.why.is_empty() { kind } else { format!("{kind}: {}", image.why) }
}

/// The layouts, from the widest to the narrowest; the first that fits the terminal is taken.
const LAYOUTS: [&[Column<v1::Publication>]; 8] = [
    &[NAME, CLOUD, STATE, BUILD, SINCE, CONFIRMED, VERIFIED, SIZE, HASH, BY, WHY, WHERE],
    &[NAME, CLOUD, STATE, BUILD, SINCE, CONFIRMED, VERIFIED, SIZE, HASH],
    &[NAME, CLOUD, STATE, SHORT_BUILD, SINCE, CONFIRMED, VERIFIED, SIZE],
    &[NAME, CLOUD, STATE, SHORT_BUILD, SINCE, VERIFIED, SIZE],
    &[NAME, CLOUD, STATE, SHORT_BUILD, SINCE, VERIFIED],
    &[NAME, STATE, SHORT_BUILD, VERIFIED],
    &[NAME, STATE, SHORT_BUILD, SINCE],
    &[NAME, STATE, SHORT_BUILD],
];

fn table(images: &[v1::Publication], style: Style) -> Screen {
    table::of(&LAYOUTS, images, "no published images", style, |_, text| Painted::plain(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Change, NewHandover};

    #[test]
    fn what_is_copied_is_told_by_its_name() {
        let what = NewHandover {
            name: "stable".to_owned(),
            cloud: "lab".to_owned(),
            change: Change::Promoted,
            to_build: Some("019a".to_owned()),
            revoked: None,
            why: String::new(),
            copied: true,
        };
        let mut open =
            Handover { id: 1, what, principal: "root".to_owned(), copy: None, giving: false, at_ms: 0 };
        assert!(is_copied_for(&open, None) && is_copied_for(&open, Some("stable")));
        assert!(!is_copied_for(&open, Some("web")));
        assert!(copied(&open).starts_with("the image of build 019a is being copied to be stable on lab"));
        open.what.copied = false;
        assert!(!is_copied_for(&open, None), "it gets the name itself");
    }

    #[test]
    fn the_images_fit_the_terminal() {
        let image = v1::Publication {
            name: "debian-13".to_owned(),
            cloud: "local".to_owned(),
            state: v1::PublicationState::Current.into(),
            build_id: "019a21b0-3f72-71c7-8d09-52cee028ec3c".to_owned(),
            size_bytes: 500 << 20,
            sha512: "ab".repeat(64),
            kind: v1::PublicationKind::RolledBack.into(),
            why: "it did not boot".to_owned(),
            verified_at: Some(crate::clock::timestamp(0)),
            confirmed_at: Some(crate::clock::timestamp_of(crate::clock::now() - chrono::TimeDelta::hours(3))),
            verified_verdict: v1::Verdict::Failed.into(),
            ..v1::Publication::default()
        };
        for width in [60, 80, 100, 200] {
            let said = table(std::slice::from_ref(&image), Style::of_width(width));
            let said = said.as_str();
            assert!(said.lines().all(|line| line.chars().count() <= width), "{width}\n{said}");
            assert!(said.contains("debian-13") && said.contains("019a21b0-3f72-71c7"), "{width}\n{said}");
        }
        let said = table(std::slice::from_ref(&image), Style::plain());
        let said = said.as_str();
        assert!(said.contains("rolled back: it did not boot") && said.contains("failed "), "{said}");
        assert!(said.contains("CONFIRMED") && said.contains("3 h ago"), "{said}");
        let held = v1::Publication {
            held: "in use".to_owned(),
            state: v1::PublicationState::Previous.into(),
            ..image
        };
        let said = table(&[held], Style::of_width(80));
        assert!(said.as_str().contains("older, held"), "{}", said.as_str());
    }
}
