//! `image-manager login`: a link that lets one browser into the dashboard, once.

use image_manager_proto::v1;

use super::arguments::LoginArguments;
use super::serving::{Answering, find};
use super::text;
use super::{Exit, Outcome, Trouble, when};
use crate::operator::Role;

pub(crate) async fn run(arguments: LoginArguments) -> Outcome {
    let Answering::Manager { mut client, url } = find(&arguments.serving, false).await? else {
        return Err(Trouble::usage(format!(
            "no manager serves the state directory {}: start `image-manager serve` first, or name another one with \
             --state",
            arguments.serving.state.state.display()
        )));
    };
    let role = arguments.role.map_or(v1::Role::Unspecified, |role| Role::from(role).message());
    let link = client.login_link(role).await?;
    text::say!(url, link.path);
    text::remark(&format!(
        "It logs one browser in, once, and expires at {}.",
        when::exact(link.expires_at.as_ref())
    ));
    Ok(Exit::Done)
}
