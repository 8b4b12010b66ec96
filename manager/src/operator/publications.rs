//! What the control service answers about images with public names.

use image_manager_proto::v1;
use tonic::{Response, Status};

use super::statuses::{history_status, page_size, trigger_status};
use crate::cloud::Trouble;
use crate::history::{Named as _, PublicationFilter};
use crate::lifecycle::{ChangeError, Manager};

/// Images on a page when the request does not say.
const PAGE: u32 = 100;

/// A page of images.
pub(super) async fn list(
    manager: &Manager,
    request: v1::ListImagesRequest,
) -> Result<v1::ListImagesResponse, Status> {
    let after = match request.page_token.as_str() {
        "" => 0,
        token => token.parse().map_err(|_| {
            Status::invalid_argument("page_token: expected next_page_token of an earlier answer")
        })?,
    };
    let limit = page_size(request.page_size, PAGE, PublicationFilter::MOST)?;
    let filter = PublicationFilter {
        name: (!request.name.is_empty()).then_some(request.name),
        removed: request.removed,
        after,
        limit,
        ..PublicationFilter::default()
    };
    let name = filter.name.clone();
    let page = manager.history().publications(filter).await.map_err(history_status)?;
    if let Some(name) = name.filter(|_| page.publications.is_empty()) {
        expect_name(manager, name).await?;
    }
    let next_page_token = page.next.map(|next| next.to_string()).unwrap_or_default();
    Ok(v1::ListImagesResponse { images: page.publications, next_page_token })
}

/// Refuses a name that no schedule publishes, and that no image ever had.
async fn expect_name(manager: &Manager, name: String) -> Result<(), Status> {
    let schedules = manager.schedules();
    let mut published = schedules.schedules.iter().filter_map(|schedule| schedule.publish.as_ref());
    if published.any(|publish| publish.name == name) {
        return Ok(());
    }
    let ever = PublicationFilter {
        name: Some(name.clone()),
        removed: true,
        limit: 1,
        ..PublicationFilter::default()
    };
    let page = manager.history().publications(ever).await.map_err(history_status)?;
    if page.publications.is_empty() { Err(status(ChangeError::NoName(name))) } else { Ok(()) }
}

/// The state of an image for people, in the words of docs/style.md; programs are told [`Named::word`].
pub(crate) fn state_of(image: &v1::Publication) -> &'static str {
    match image.state() {
        v1::PublicationState::Previous => "older",
        state => state.word(),
    }
}

/// The answer to a change.
pub(super) fn answer(
    changed: Result<Vec<v1::Publication>, ChangeError>,
) -> Result<Response<v1::ChangeImagesResponse>, Status> {
    changed.map(|images| Response::new(v1::ChangeImagesResponse { images })).map_err(status)
}

/// What is answered when a name was not given to another image.
pub(crate) fn status(error: ChangeError) -> Status {
    let text = error.to_string();
    match error {
        ChangeError::NoName(_) => Status::not_found(text),
        ChangeError::Wrong(_) => Status::invalid_argument(text),
        ChangeError::NotPublished(_) | ChangeError::NoGoodOne { .. } | ChangeError::NotGood { .. } => {
            Status::failed_precondition(text)
        }
        ChangeError::Cloud { begun: false, error, .. } if error.trouble == Trouble::Configuration => {
            Status::failed_precondition(text)
        }
        ChangeError::Cloud { .. } | ChangeError::Later { .. } | ChangeError::Partly { .. } => {
            Status::unavailable(text)
        }
        ChangeError::Trigger(error) => trigger_status(error),
        ChangeError::History(error) => history_status(error),
    }
}
