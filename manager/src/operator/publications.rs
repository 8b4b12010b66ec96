//! What the control service answers about images with public names.

use image_manager_proto::v1;
use tonic::{Response, Status};

use super::statuses::{history_status, page_size, trigger_status};
use crate::cloud::Trouble;
use crate::history::PublicationFilter;
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
    let page = manager.history().publications(filter).await.map_err(history_status)?;
    let next_page_token = page.next.map(|next| next.to_string()).unwrap_or_default();
    Ok(v1::ListImagesResponse { images: page.publications, next_page_token })
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
        ChangeError::Cloud { .. } | ChangeError::Partly { .. } => Status::unavailable(text),
        ChangeError::Trigger(error) => trigger_status(error),
        ChangeError::History(error) => history_status(error),
    }
}
