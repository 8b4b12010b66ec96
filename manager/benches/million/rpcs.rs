//! The RPCs.

use std::time::{Duration, SystemTime};

use image_manager_proto::v1::image_manager_client::ImageManagerClient;
use image_manager_proto::v1::{self, BuildState};
use prost_types::Timestamp;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use super::generate::{SCHEDULES, public_name, schedule};
use super::serving::Serving;
use super::table::{Act, Acts};
use super::verbs::end_of;

type Client = ImageManagerClient<Channel>;

/// Those that read.
pub(crate) fn reading<'a>(serving: &'a Serving, ids: &'a [String]) -> Acts<'a> {
    let mut acts = builds(serving, ids);
    acts.extend(lists(serving, ids));
    acts.extend(reports(serving));
    acts.extend(images(serving));
    acts
}

/// Those that change something small, or that are refused.
pub(crate) fn orders(serving: &Serving) -> Acts<'_> {
    // Of a schedule that has published nothing: nothing is begun.
    let refused = v1::TriggerBuildRequest {
        schedule: schedule(SCHEDULES - 1),
        verify: true,
        ..v1::TriggerBuildRequest::default()
    };
    let [mut first, mut second, mut third] = [(); 3].map(|()| serving.client());
    let pause: Act<'_> = Box::new(move |index| {
        let schedule = schedule(index as u64);
        done(serving.block_on(first.pause_schedule(v1::PauseScheduleRequest { schedule })))
    });
    let resume: Act<'_> = Box::new(move |index| {
        let schedule = schedule(index as u64);
        done(serving.block_on(second.resume_schedule(v1::ResumeScheduleRequest { schedule })))
    });
    let trigger: Act<'_> = Box::new(move |_| {
        refused_with(Code::FailedPrecondition, serving.block_on(third.trigger_build(refused.clone())))
    });
    vec![
        ("PauseSchedule".to_owned(), pause),
        ("ResumeSchedule".to_owned(), resume),
        ("TriggerBuild, refused".to_owned(), trigger),
    ]
}

fn done<T>(answer: Result<T, Status>) -> Result<(), String> {
    answer.map(drop).map_err(|status| status.to_string())
}

fn refused_with<T>(code: Code, answer: Result<Response<T>, Status>) -> Result<(), String> {
    match answer {
        Err(status) if status.code() == code => Ok(()),
        Err(status) => Err(status.to_string()),
        Ok(_) => Err(format!("it was not refused ({code:?})")),
    }
}

/// One RPC with its requests.
fn act<'a, R: 'a, T>(
    serving: &'a Serving,
    what: &str,
    request: impl Fn(usize) -> R + 'a,
    ask: impl AsyncFn(&mut Client, R) -> Result<T, Status> + 'a,
) -> (String, Act<'a>) {
    let mut client = serving.client();
    let act = move |index| done(serving.block_on(ask(&mut client, request(index))));
    (what.to_owned(), Box::new(act))
}

async fn get(client: &mut Client, id: String) -> Result<Response<v1::Build>, Status> {
    client.get_build(v1::GetBuildRequest { id }).await
}

async fn list(
    client: &mut Client,
    request: v1::ListBuildsRequest,
) -> Result<Response<v1::ListBuildsResponse>, Status> {
    client.list_builds(request).await
}

async fn list_images(
    client: &mut Client,
    request: v1::ListImagesRequest,
) -> Result<Response<v1::ListImagesResponse>, Status> {
    client.list_images(request).await
}

fn builds<'a>(serving: &'a Serving, ids: &'a [String]) -> Acts<'a> {
    let id = move |index: usize| ids[index % ids.len()].clone();
    vec![
        act(serving, "GetBuild", id, get),
        act(serving, "GetBuild by the end of its id", move |index| end_of(&id(index)).to_owned(), get),
        act(
            serving,
            "GetBuild by the beginning of its last part",
            move |index| id(index)[24..32].to_owned(),
            get,
        ),
        act(serving, "GetBuild, the newest of a schedule", |index| schedule(index as u64), get),
        act(serving, "WatchBuild, of a build that has ended", id, async |client, id| {
            let request = v1::WatchBuildRequest { id, logs: true, target: String::new() };
            let mut events = client.watch_build(request).await?.into_inner();
            while events.message().await?.is_some() {}
            Ok(())
        }),
        act(
            serving,
            "CompareBuilds",
            move |index| v1::CompareBuildsRequest { a: id(index), b: id(index * 7 + 1) },
            async |client, request| client.compare_builds(request).await,
        ),
        act(
            serving,
            "ListSchedules",
            |_| v1::ListSchedulesRequest {},
            async |client, request| client.list_schedules(request).await,
        ),
        act(
            serving,
            "ListTokens",
            |_| v1::ListTokensRequest {},
            async |client, request| client.list_tokens(request).await,
        ),
    ]
}

fn lists<'a>(serving: &'a Serving, ids: &'a [String]) -> Acts<'a> {
    let some = |schedule: &str, state: BuildState| v1::ListBuildsRequest {
        schedule: schedule.to_owned(),
        state: state.into(),
        ..v1::ListBuildsRequest::default()
    };
    let any = BuildState::Unspecified;
    let hour_ago = SystemTime::now() - Duration::from_hours(1);
    let cases = [
        ("ListBuilds", some("", any)),
        ("ListBuilds, 500 on a page", v1::ListBuildsRequest { page_size: 500, ..some("", any) }),
        ("ListBuilds of a schedule", some("schedule-007", any)),
        ("ListBuilds, failed", some("", BuildState::Failed)),
        ("ListBuilds of a schedule, failed", some("schedule-007", BuildState::Failed)),
        ("ListBuilds of a schedule, none is building", some("schedule-007", BuildState::Building)),
        (
            "ListBuilds of the last hour",
            v1::ListBuildsRequest { since: Some(hour_ago.into()), ..some("", any) },
        ),
    ];
    let mut acts: Acts<'a> =
        cases.into_iter().map(|(what, request)| act(serving, what, move |_| request.clone(), list)).collect();
    let page_token = move |index: usize| ids[index % ids.len()].clone();
    let deep =
        move |index| v1::ListBuildsRequest { page_token: page_token(index), ..some("schedule-007", any) };
    acts.push(act(serving, "ListBuilds, a page deep in the history", deep, list));
    let nothing = some("nothing", any);
    acts.push(act(
        serving,
        "ListBuilds of a schedule that is not there",
        move |_| nothing.clone(),
        async |client, request| match client.list_builds(request).await {
            Err(status) if status.code() == Code::NotFound => Ok(()),
            Err(status) => Err(status),
            Ok(_) => Err(Status::internal("it is there")),
        },
    ));
    acts
}

fn reports(serving: &Serving) -> Acts<'_> {
    let days_ago = |days: i64| {
        let Timestamp { seconds, nanos } = SystemTime::now().into();
        Some(Timestamp { seconds: seconds - days * 86_400, nanos })
    };
    let cases = [
        ("GetReport, 30 days", 30, 0, false),
        ("GetReport, 30 days, 60 points", 30, 60, false),
        ("GetReport, one schedule, a year, 200 points", 365, 200, true),
        ("GetReport, one schedule, everything, 200 points", 2000, 200, true),
        ("GetReport, everything", 2000, 0, false),
        ("GetReport, everything, 200 points", 2000, 200, false),
    ];
    let report = |(what, days, points, one): (&str, i64, u32, bool)| {
        let request = move |index: usize| {
            let schedule = if one { schedule(index as u64) } else { String::new() };
            v1::GetReportRequest { schedule, since: days_ago(days), until: None, points }
        };
        act(serving, what, request, async |client, request| client.get_report(request).await)
    };
    cases.into_iter().map(report).collect()
}

fn images(serving: &Serving) -> Acts<'_> {
    let all = v1::ListImagesRequest::default();
    let name = |index: usize| public_name(index as u64);
    let removed = move |index| v1::ListImagesRequest {
        name: name(index),
        removed: true,
        ..v1::ListImagesRequest::default()
    };
    vec![
        act(serving, "ListImages", move |_| all.clone(), list_images),
        act(
            serving,
            "ListImages of a name",
            move |index| v1::ListImagesRequest { name: name(index), ..v1::ListImagesRequest::default() },
            list_images,
        ),
        act(serving, "ListImages of a name, those that are gone too", removed, list_images),
    ]
}
