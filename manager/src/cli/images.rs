//! `image-manager images`, `rollback`, `promote` and `revoke`: what has which public name.

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
use crate::history::{Named as _, PublicationFilter};
use crate::operator::publication_state;

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
    if let Some(name) = arguments.name.filter(|_| page.publications.is_empty()) {
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
    Ok(told(&match answering(&arguments.serving).await? {
        Answering::Manager { mut client, .. } => client.promote(request).await?,
        Answering::History(history, lock) => change(history, lock, Asked::Promote(request)).await?,
    }))
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
