//! The control service.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use image_manager_proto::v1::image_manager_server::ImageManager;
use image_manager_proto::v1::{self, Trigger};
use prost::Message as _;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::access::{Access, Caller, Role};
use super::statuses::{expect_past, history_status, page_size, token_status, trigger_status};
use super::{publications, watch};
use crate::clock;
use crate::clock::{milliseconds, timestamp, timestamp_of};
use crate::history::{BuildFilter, Principal, ReportQuery, ScheduleState};
use crate::lifecycle::{Manager, TriggerOptions, compare, state};
use crate::schedules::{OnFailure, Schedule, Target, planner};

/// Builds on a page when the request does not say.
const PAGE: u32 = 50;
/// Most bytes of a page: clients refuse messages over 4 MiB by default.
const PAGE_BYTES: usize = 3 << 20;
/// Builds of a schedule that are looked at: one of them at most is under way.
const NEWEST: u32 = 2;
/// Fire times that are told of each schedule.
const NEXT_FIRES: usize = 3;

/// Answers for one manager.
pub(super) struct Control {
    pub(super) manager: Manager,
    pub(super) access: Arc<Access>,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl ImageManager for Control {
    type WatchBuildStream = Pin<Box<dyn Stream<Item = Result<v1::BuildEvent, Status>> + Send>>;

    async fn trigger_build(&self, request: Request<v1::TriggerBuildRequest>) -> Answer<v1::Build> {
        let by = caller(&request)?.principal;
        let request = request.into_inner();
        let trigger = match request.trigger() {
            Trigger::Unspecified | Trigger::Cron | Trigger::Retry => Trigger::Grpc,
            other => other,
        };
        if request.force && request.verify {
            return Err(Status::invalid_argument(
                "force and verify exclude each other: a verification builds nothing",
            ));
        }
        let options = TriggerOptions {
            force: request.force,
            verify: request.verify,
            ..TriggerOptions::new(trigger, by)
        };
        let build = self.manager.trigger(&request.schedule, options).await;
        build.map(Response::new).map_err(trigger_status)
    }

    async fn get_build(&self, request: Request<v1::GetBuildRequest>) -> Answer<v1::Build> {
        let id = self.resolve(&request.into_inner().id).await?;
        Ok(Response::new(self.manager.history().build(&id).await.map_err(history_status)?))
    }

    async fn list_builds(&self, request: Request<v1::ListBuildsRequest>) -> Answer<v1::ListBuildsResponse> {
        let request = request.into_inner();
        let some = |text: String| (!text.is_empty()).then_some(text);
        self.expect_schedule(&request.schedule).await?;
        expect_past(request.since.as_ref())?;
        let limit = page_size(request.page_size, PAGE, BuildFilter::MOST)?;
        if !request.page_token.is_empty() && uuid::Uuid::try_parse(&request.page_token).is_err() {
            return Err(Status::invalid_argument(
                "page_token: expected next_page_token of an earlier answer",
            ));
        }
        let state = request.state();
        let filter = BuildFilter {
            state: (state != v1::BuildState::Unspecified).then_some(state),
            schedule: some(request.schedule),
            since_ms: request.since.as_ref().map(milliseconds),
            before: some(request.page_token),
            limit,
            bare: false,
        };
        let mut page = self.manager.history().builds(filter).await.map_err(history_status)?;
        let mut size = 0;
        let fits = page.builds.iter().take_while(|build| {
            size += build.encoded_len();
            size <= PAGE_BYTES
        });
        let fits = fits.count().max(1);
        if fits < page.builds.len() {
            page.builds.truncate(fits);
            page.next = page.builds.last().map(|build| build.id.clone());
        }
        let next_page_token = page.next.unwrap_or_default();
        Ok(Response::new(v1::ListBuildsResponse { builds: page.builds, next_page_token }))
    }

    async fn watch_build(&self, request: Request<v1::WatchBuildRequest>) -> Answer<Self::WatchBuildStream> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let id = self.resolve(&request.id).await?;
        let logs = match (request.logs, request.target) {
            (false, _) => watch::Logs::None,
            (true, target) if target.is_empty() => watch::Logs::All,
            (true, target) => watch::Logs::OfTarget(target),
        };
        let events = watch::build_events(self.manager.clone(), id, logs).await.map_err(history_status)?;
        let access = Arc::clone(&self.access);
        let fallen = async move {
            access.keyring.fallen(&caller).await;
            Status::unauthenticated("the token was revoked or has expired")
        };
        Ok(Response::new(Box::pin(watch::Until::new(events, fallen))))
    }

    async fn cancel_build(&self, request: Request<v1::CancelBuildRequest>) -> Answer<v1::Build> {
        let by = caller(&request)?.principal;
        let id = self.resolve(&request.into_inner().id).await?;
        if !self.manager.cancel(&id, by) {
            return Err(Status::failed_precondition(format!("build {id} has already ended")));
        }
        Ok(Response::new(self.manager.history().build(&id).await.map_err(history_status)?))
    }

    async fn list_schedules(
        &self,
        _request: Request<v1::ListSchedulesRequest>,
    ) -> Answer<v1::ListSchedulesResponse> {
        let history = self.manager.history();
        let current = self.manager.schedules();
        let names: Vec<String> = current.schedules.iter().map(|schedule| schedule.name.clone()).collect();
        let states = history.schedule_states().await.map_err(history_status)?;
        let mut newest = history.newest_builds(names.clone(), NEWEST).await.map_err(history_status)?;
        let mut needing = history.needing_attention(names).await.map_err(history_status)?;
        let told = current.schedules.iter().map(|schedule| {
            let newest = newest.remove(&schedule.name).unwrap_or_default();
            let needs_attention = needing.remove(&schedule.name).unwrap_or_default();
            message(schedule, states.get(&schedule.name), newest, needs_attention)
        });
        let schedules = told.collect();
        let schedules_error = self.manager.schedules_error().unwrap_or_default();
        let problems = self.manager.problems().await.map_err(history_status)?;
        Ok(Response::new(v1::ListSchedulesResponse { schedules, schedules_error, problems }))
    }

    async fn pause_schedule(&self, request: Request<v1::PauseScheduleRequest>) -> Answer<v1::Schedule> {
        let by = caller(&request)?.principal;
        self.set_paused(&request.into_inner().schedule, true, by).await
    }

    async fn resume_schedule(&self, request: Request<v1::ResumeScheduleRequest>) -> Answer<v1::Schedule> {
        let by = caller(&request)?.principal;
        self.set_paused(&request.into_inner().schedule, false, by).await
    }

    async fn get_report(&self, request: Request<v1::GetReportRequest>) -> Answer<v1::GetReportResponse> {
        let request = request.into_inner();
        self.expect_schedule(&request.schedule).await?;
        if let (Some(since), Some(until)) = (&request.since, &request.until)
            && milliseconds(since) >= milliseconds(until)
        {
            return Err(Status::invalid_argument("since is not before until: the range is empty"));
        }
        if request.until.is_none() {
            expect_past(request.since.as_ref())?;
        }
        if request.points > ReportQuery::MOST_POINTS {
            let (points, most) = (request.points, ReportQuery::MOST_POINTS);
            return Err(Status::invalid_argument(format!("points {points}: expected at most {most}")));
        }
        let query = ReportQuery {
            schedule: (!request.schedule.is_empty()).then_some(request.schedule),
            since_ms: request.since.as_ref().map(milliseconds),
            until_ms: request.until.as_ref().map(milliseconds),
            points: request.points,
        };
        self.manager.history().report(query).await.map(Response::new).map_err(history_status)
    }

    async fn compare_builds(
        &self,
        request: Request<v1::CompareBuildsRequest>,
    ) -> Answer<v1::CompareBuildsResponse> {
        let request = request.into_inner();
        let history = self.manager.history();
        let (a, b) = history.resolve_pair(&request.a, &request.b).await.map_err(history_status)?;
        compare(history, &self.manager.settings().state, &a, &b)
            .await
            .map(Response::new)
            .map_err(history_status)
    }

    async fn list_images(&self, request: Request<v1::ListImagesRequest>) -> Answer<v1::ListImagesResponse> {
        publications::list(&self.manager, request.into_inner()).await.map(Response::new)
    }

    async fn roll_back(&self, request: Request<v1::RollBackRequest>) -> Answer<v1::ChangeImagesResponse> {
        let by = caller(&request)?.principal;
        publications::answer(self.manager.publications().roll_back(request.into_inner(), by).await)
    }

    async fn promote_build(
        &self,
        request: Request<v1::PromoteBuildRequest>,
    ) -> Answer<v1::ChangeImagesResponse> {
        let by = caller(&request)?.principal;
        publications::answer(self.manager.publications().promote(request.into_inner(), by).await)
    }

    async fn revoke_build(
        &self,
        request: Request<v1::RevokeBuildRequest>,
    ) -> Answer<v1::ChangeImagesResponse> {
        let by = caller(&request)?.principal;
        publications::answer(self.manager.publications().revoke(request.into_inner(), by).await)
    }

    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Answer<v1::CreateTokenResponse> {
        let by = caller(&request)?.principal;
        let request = request.into_inner();
        let role = Role::from_message(request.role()).ok_or_else(|| {
            Status::invalid_argument("name the role: ROLE_VIEWER, ROLE_OPERATOR or ROLE_ADMIN")
        })?;
        let lifetime = request.lifetime.map(|lifetime| Duration::try_from(lifetime).unwrap_or_default());
        let issued = self.access.keyring.create(&request.name, role, lifetime, by.clone()).await;
        let issued = issued.map_err(token_status)?;
        tracing::info!(token = request.name, %role, %by, "made a token");
        Ok(Response::new(v1::CreateTokenResponse { token: Some(issued.what), text: issued.text }))
    }

    async fn list_tokens(&self, _request: Request<v1::ListTokensRequest>) -> Answer<v1::ListTokensResponse> {
        let tokens = self.access.keyring.list().await.map_err(history_status)?;
        Ok(Response::new(v1::ListTokensResponse { tokens }))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Answer<v1::RevokeTokenResponse> {
        let by = caller(&request)?.principal;
        let name = request.into_inner().name;
        self.access.keyring.revoke(&name, by.clone()).await.map_err(token_status)?;
        tracing::info!(token = name, %by, "revoked a token");
        Ok(Response::new(v1::RevokeTokenResponse {}))
    }

    async fn create_login_link(
        &self,
        request: Request<v1::CreateLoginLinkRequest>,
    ) -> Answer<v1::CreateLoginLinkResponse> {
        let caller = caller(&request)?;
        if caller.is_browser() {
            // Else a session could be renewed for ever, and a stolen one would have no end.
            let why = "a browser session cannot make login links: use a token, or `image-manager login` on the \
                       manager's host";
            return Err(Status::permission_denied(why));
        }
        let role = Role::from_message(request.into_inner().role()).unwrap_or(caller.role);
        if !caller.may(role) {
            let why = format!("{} has the role {}: a link cannot give more", caller.principal, caller.role);
            return Err(Status::permission_denied(why));
        }
        let issued = self.access.keyring.link(&caller, role).await.map_err(token_status)?;
        Ok(Response::new(issued.what))
    }
}

/// Who asks. The gate has let nobody through of whom it does not know that.
fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    request.extensions().get::<Caller>().cloned().ok_or_else(|| Status::internal("it is unknown who asks"))
}

impl Control {
    async fn resolve(&self, text: &str) -> Result<String, Status> {
        self.manager.history().resolve(text).await.map_err(history_status)
    }

    async fn expect_schedule(&self, name: &str) -> Result<(), Status> {
        self.manager.expect_schedule(name).await.map_err(history_status)
    }

    async fn set_paused(&self, name: &str, paused: bool, by: Principal) -> Answer<v1::Schedule> {
        let schedule = self.manager.schedule(name).map_err(trigger_status)?;
        let history = self.manager.history();
        history.set_paused(name, paused, by).await.map_err(history_status)?;
        let states = history.schedule_states().await.map_err(history_status)?;
        let names = vec![name.to_owned()];
        let mut newest = history.newest_builds(names.clone(), NEWEST).await.map_err(history_status)?;
        let needing = history.needing_attention(names).await.map_err(history_status)?;
        let newest = newest.remove(name).unwrap_or_default();
        let needs_attention = needing.into_values().flatten().collect();
        Ok(Response::new(message(&schedule, states.get(name), newest, needs_attention)))
    }
}

/// A schedule as the interface has it, with its newest builds, and those because of which it needs attention.
fn message(
    schedule: &Schedule,
    state: Option<&ScheduleState>,
    newest: Vec<v1::Build>,
    needs_attention: Vec<v1::Build>,
) -> v1::Schedule {
    let paused = state.is_some_and(|state| state.paused);
    let fires = if paused { Vec::new() } else { planner::next_fires(schedule, clock::now(), NEXT_FIRES) };
    let newest = newest.into_iter().map(without_evidence).collect::<Vec<_>>();
    let last_ended_build = newest.iter().find(|build| state::is_end(build.state())).cloned();
    let last_build = newest.into_iter().next();
    v1::Schedule {
        name: schedule.name.clone(),
        cron: schedule.cron.as_ref().map(|cron| cron.source.clone()).unwrap_or_default(),
        timezone: schedule.timezone.to_string(),
        cloud: match schedule.clouds().as_slice() {
            [cloud] => (*cloud).to_owned(),
            _ => String::new(),
        },
        publish_name: schedule.publish.as_ref().map(|publish| publish.name.clone()).unwrap_or_default(),
        paused,
        pause_reason: state.map(|state| state.pause_reason.clone()).unwrap_or_default(),
        paused_at: state.and_then(|state| state.paused_at).map(timestamp),
        paused_by: state.map(|state| state.paused_by.clone()).unwrap_or_default(),
        failures_in_a_row: state.map(|state| state.failures).unwrap_or_default(),
        retry_at: state.and_then(|state| state.retry.as_ref()).map(|retry| timestamp(retry.due_at)),
        next_fires: fires.into_iter().map(timestamp_of).collect(),
        last_build,
        last_ended_build,
        needs_attention: needs_attention.into_iter().map(without_evidence).collect(),
        targets: schedule.targets.iter().map(target).collect(),
        reverify: schedule.reverify.as_ref().map(|cron| cron.source.clone()).unwrap_or_default(),
        rolls_back: schedule.on_failure == OnFailure::RollBack,
        next_reverify: planner::next_reverify(schedule, clock::now()).filter(|_| !paused).map(timestamp_of),
    }
}

/// A build without the evidence of its failures: with all of it, failed builds of many schedules are more than clients
/// take in one message.
fn without_evidence(mut build: v1::Build) -> v1::Build {
    let of_trials = build.trials.iter_mut().filter_map(|trial| trial.failure.as_mut());
    for failure in build.failure.iter_mut().chain(of_trials) {
        failure.evidence.clear();
    }
    build
}

/// A target as the interface has it.
fn target(target: &Target) -> v1::Target {
    v1::Target {
        name: target.name.clone(),
        cloud: target.cloud.clone(),
        required: target.required,
        publish: target.publish,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::schedules;

    #[test]
    fn the_builds_of_a_schedule_are_without_evidence() {
        let text = "[schedule.web]\nimage.elements = [\"e\"]\ncloud = \"one\"\nserver.flavor = \"m\"\n";
        let schedules = schedules::parse(Path::new("schedules.toml"), text).unwrap();
        let failure = v1::Failure {
            message: "it failed".to_owned(),
            evidence: "a console".to_owned(),
            ..v1::Failure::default()
        };
        let build = v1::Build {
            state: v1::BuildState::Failed.into(),
            failure: Some(failure.clone()),
            trials: vec![v1::Trial { failure: Some(failure), ..v1::Trial::default() }],
            ..v1::Build::default()
        };
        let told = message(&schedules.schedules[0], None, vec![build.clone()], vec![build]);
        let builds = told.last_build.iter().chain(&told.last_ended_build).chain(&told.needs_attention);
        let failures: Vec<_> =
            builds.flat_map(|build| [build.failure.as_ref(), build.trials[0].failure.as_ref()]).collect();
        assert_eq!(failures.len(), 6);
        for failure in failures {
            let failure = failure.unwrap();
            assert_eq!((failure.message.as_str(), failure.evidence.as_str()), ("it failed", ""));
        }
    }
}
