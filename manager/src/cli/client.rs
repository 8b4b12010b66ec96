//! Asking the manager that serves a state directory.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use image_manager_proto::v1::image_manager_client::ImageManagerClient;
use image_manager_proto::v1::{self, Trigger};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use super::Trouble;
use crate::lifecycle::PREFLIGHT;
use crate::operator::ApiToken;

/// How long the manager may take to answer.
const ANSWER: Duration = Duration::from_secs(30);
/// The same where it asks the cloud first: longer than it gives that, so that its answer says what is wrong there.
const ANSWER_TO_TRIGGER: Duration = PREFLIGHT.saturating_add(ANSWER);

/// The same where a cloud gives names to other images, which may come after a build that publishes.
const ANSWER_TO_CHANGE: Duration = Duration::from_mins(15);

/// The same where it may have to copy an image first, in several clouds at once.
const ANSWER_TO_PROMOTION: Duration = Duration::from_hours(7);

/// Longest answer, in bytes: a long list of builds with their evidence is more than the 4 MiB that are taken by default.
const ANSWER_LIMIT: usize = 64 << 20;

/// A connection to a manager; cheap to clone.
#[derive(Clone)]
pub(crate) struct Client {
    inner: ImageManagerClient<Channel>,
    bearer: Option<MetadataValue<Ascii>>,
}

impl Client {
    /// Connects to the operator port.
    pub(crate) async fn connect(operator: SocketAddr, token: Option<&Path>) -> Result<Self, Trouble> {
        let token = token.map(ApiToken::read_to_bring).transpose().map_err(Trouble::usage)?;
        let bearer =
            token.map(|token| format!("Bearer {}", token.expose()).parse()).transpose().map_err(|_| {
                Trouble::usage("--api-token-file: the token has characters that HTTP cannot carry")
            })?;
        let endpoint = Endpoint::from_shared(format!("http://{operator}"))
            .map_err(Trouble::errored)?
            .connect_timeout(Duration::from_secs(5))
            .http2_keep_alive_interval(ANSWER)
            .keep_alive_timeout(ANSWER);
        let channel = endpoint.connect().await.map_err(|error| {
            Trouble::errored(format!("the manager at {operator} does not answer: {error}"))
        })?;
        let inner = ImageManagerClient::new(channel).max_decoding_message_size(ANSWER_LIMIT);
        Ok(Self { inner, bearer })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(bearer) = &self.bearer {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        request
    }

    /// Triggers a build of a schedule, or verifies its published image again.
    pub(crate) async fn trigger(
        &mut self,
        schedule: &str,
        force: bool,
        verify: bool,
    ) -> Result<v1::Build, Trouble> {
        let (schedule, trigger) = (schedule.to_owned(), Trigger::Cli.into());
        let message = v1::TriggerBuildRequest { schedule, trigger, force, verify };
        let mut request = self.request(message);
        // Ours ends first, and knows what was asked.
        request.set_timeout(ANSWER_TO_TRIGGER.saturating_add(ANSWER));
        let answer = tokio::time::timeout(ANSWER_TO_TRIGGER, self.inner.trigger_build(request)).await;
        let late = |_| {
            Trouble::errored(format!(
                "the manager did not say within {} whether it accepts the build: `image-manager history` shows \
                 whether it did, and the manager's log shows what took so long",
                humantime::format_duration(ANSWER_TO_TRIGGER)
            ))
        };
        answer.map_err(late)?.map(tonic::Response::into_inner).map_err(trouble)
    }

    /// The events of a build, logs included.
    pub(crate) async fn watch(&mut self, id: &str) -> Result<Streaming<v1::BuildEvent>, Trouble> {
        let request =
            self.request(v1::WatchBuildRequest { id: id.to_owned(), logs: true, target: String::new() });
        self.inner.watch_build(request).await.map(tonic::Response::into_inner).map_err(trouble)
    }

    /// Ends a build; returns it as it was then.
    pub(crate) async fn cancel(&mut self, id: &str) -> Result<v1::Build, Trouble> {
        let mut request = self.request(v1::CancelBuildRequest { id: id.to_owned() });
        request.set_timeout(ANSWER);
        self.inner.cancel_build(request).await.map(tonic::Response::into_inner).map_err(trouble)
    }

    /// Keeps a schedule from firing by itself.
    pub(crate) async fn pause(&mut self, schedule: &str) -> Result<v1::Schedule, Trouble> {
        let mut request = self.request(v1::PauseScheduleRequest { schedule: schedule.to_owned() });
        request.set_timeout(ANSWER);
        self.inner.pause_schedule(request).await.map(tonic::Response::into_inner).map_err(trouble)
    }

    /// Lets a schedule fire again.
    pub(crate) async fn resume(&mut self, schedule: &str) -> Result<v1::Schedule, Trouble> {
        let mut request = self.request(v1::ResumeScheduleRequest { schedule: schedule.to_owned() });
        request.set_timeout(ANSWER);
        self.inner.resume_schedule(request).await.map(tonic::Response::into_inner).map_err(trouble)
    }

    /// The schedules, each with its newest build.
    pub(crate) async fn schedules(&mut self) -> Result<v1::ListSchedulesResponse, Trouble> {
        let mut request = self.request(v1::ListSchedulesRequest {});
        request.set_timeout(ANSWER);
        self.inner.list_schedules(request).await.map(tonic::Response::into_inner).map_err(trouble)
    }

    /// The newest builds in a state.
    pub(crate) async fn builds_in(&mut self, state: v1::BuildState) -> Result<Vec<v1::Build>, Trouble> {
        let message =
            v1::ListBuildsRequest { state: state.into(), page_size: 500, ..v1::ListBuildsRequest::default() };
        let mut request = self.request(message);
        request.set_timeout(ANSWER);
        self.inner.list_builds(request).await.map(|answer| answer.into_inner().builds).map_err(trouble)
    }

    /// Gives a name back to an older image.
    pub(crate) async fn roll_back(
        &mut self,
        message: v1::RollBackRequest,
    ) -> Result<Vec<v1::Publication>, Trouble> {
        let mut request = self.request(message);
        request.set_timeout(ANSWER_TO_CHANGE);
        self.inner.roll_back(request).await.map(|answer| answer.into_inner().images).map_err(trouble)
    }

    /// Gives a published image another name besides.
    pub(crate) async fn promote(
        &mut self,
        message: v1::PromoteBuildRequest,
    ) -> Result<Vec<v1::Publication>, Trouble> {
        let mut request = self.request(message);
        request.set_timeout(ANSWER_TO_PROMOTION);
        self.inner.promote_build(request).await.map(|answer| answer.into_inner().images).map_err(trouble)
    }

    /// Revokes a build's images.
    pub(crate) async fn revoke(
        &mut self,
        message: v1::RevokeBuildRequest,
    ) -> Result<Vec<v1::Publication>, Trouble> {
        let mut request = self.request(message);
        request.set_timeout(ANSWER_TO_CHANGE);
        self.inner.revoke_build(request).await.map(|answer| answer.into_inner().images).map_err(trouble)
    }

    /// Makes a token; returns its text.
    pub(crate) async fn create_token(&mut self, token: v1::CreateTokenRequest) -> Result<String, Trouble> {
        let mut request = self.request(token);
        request.set_timeout(ANSWER);
        let refused = |status: Status| match status.code() {
            Code::AlreadyExists => Trouble::usage(status.message()),
            _ => trouble(status),
        };
        self.inner.create_token(request).await.map(|answer| answer.into_inner().text).map_err(refused)
    }

    /// Makes a token worthless.
    pub(crate) async fn revoke_token(&mut self, name: &str) -> Result<(), Trouble> {
        let mut request = self.request(v1::RevokeTokenRequest { name: name.to_owned() });
        request.set_timeout(ANSWER);
        self.inner.revoke_token(request).await.map(|_| ()).map_err(trouble)
    }

    /// Makes a link for a browser.
    pub(crate) async fn login_link(
        &mut self,
        role: v1::Role,
    ) -> Result<v1::CreateLoginLinkResponse, Trouble> {
        let mut request = self.request(v1::CreateLoginLinkRequest { role: role.into() });
        request.set_timeout(ANSWER);
        self.inner.create_login_link(request).await.map(tonic::Response::into_inner).map_err(trouble)
    }
}

/// What a manager answers, for people.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn trouble(status: Status) -> Trouble {
    match status.code() {
        // What it says itself is for whoever writes the header.
        Code::Unauthenticated => Trouble::usage(
            "the manager requires an API token, and got none or a wrong one: give --api-token-file FILE (or set \
             IMAGE_MANAGER_API_TOKEN_FILE) with the file that `serve` was given, or a file with a token from \
             `image-manager token create`",
        ),
        Code::NotFound | Code::InvalidArgument | Code::FailedPrecondition | Code::PermissionDenied => {
            Trouble::usage(status.message())
        }
        _ => Trouble::errored(status.message()),
    }
}
