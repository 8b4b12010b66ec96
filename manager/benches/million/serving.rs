//! What a manager that serves answers.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use image_manager_proto::v1::image_manager_client::ImageManagerClient;
use image_manager_proto::v1::{self, BuildState};
use tokio::runtime::Runtime;
use tonic::transport::Channel;

use super::{Table, program};
use crate::generate::schedule;

/// A manager; it is asked to end when dropped.
pub(crate) struct Serving {
    child: Child,
    operator: String,
    runtime: Runtime,
}

impl Serving {
    pub(crate) fn start(directory: &Path) -> Self {
        let log = fs::File::create(directory.join("serve.log")).unwrap();
        // The sample's logs are old: they must not be taken away under the measurement.
        let keep = ["--keep-logs", "forever"];
        let arguments =
            [&["serve", "--operator", "127.0.0.1:0", "--gateway", "127.0.0.1:0"], &keep[..]].concat();
        let child = program(directory, &arguments).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let began = Instant::now();
        let operator = loop {
            let text = fs::read_to_string(directory.join("state/manager.json")).unwrap_or_default();
            let holder: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            if holder["pid"] == u64::from(child.id())
                && let Some(operator) = holder["operator"].as_str()
            {
                break operator.to_owned();
            }
            assert!(began.elapsed() < Duration::from_mins(2), "see {}/serve.log", directory.display());
            std::thread::park_timeout(Duration::from_millis(20));
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { child, operator, runtime }
    }

    fn client(&self) -> ImageManagerClient<Channel> {
        let address = format!("http://{}", self.operator);
        self.runtime.block_on(ImageManagerClient::connect(address)).unwrap()
    }

    pub(crate) fn rpcs(&self, table: &mut Table, ids: &[String], runs: usize) {
        let id = |index: usize| ids[index % ids.len()].clone();
        let mut client = self.client();
        let runtime = &self.runtime;
        table.measure("GetBuild", runs, |index| {
            runtime.block_on(client.get_build(v1::GetBuildRequest { id: id(index) })).unwrap();
        });
        self.lists(table, ids, runs);
        table.measure("ListSchedules", runs, |_| {
            runtime.block_on(client.list_schedules(v1::ListSchedulesRequest {})).unwrap();
        });
        table.measure("WatchBuild, of a build that has ended", runs, |index| {
            let request = v1::WatchBuildRequest { id: id(index), logs: true, target: String::new() };
            runtime.block_on(async {
                let mut events = client.watch_build(request).await.unwrap().into_inner();
                while events.message().await.unwrap().is_some() {}
            });
        });
        table.measure("PauseSchedule and ResumeSchedule", runs, |index| {
            let schedule = schedule(index as u64);
            runtime.block_on(async {
                client.pause_schedule(v1::PauseScheduleRequest { schedule: schedule.clone() }).await.unwrap();
                client.resume_schedule(v1::ResumeScheduleRequest { schedule }).await.unwrap();
            });
        });
        table.measure("CompareBuilds", runs, |index| {
            let request = v1::CompareBuildsRequest { a: id(index), b: id(index * 7 + 1) };
            runtime.block_on(client.compare_builds(request)).unwrap();
        });
        let days_ago = |days: i64| {
            let now = std::time::SystemTime::now().into();
            let prost_types::Timestamp { seconds, nanos } = now;
            Some(prost_types::Timestamp { seconds: seconds - days * 86_400, nanos })
        };
        for (what, days, points, one) in [
            ("GetReport, 30 days", 30, 0, false),
            ("GetReport, 30 days, 60 points", 30, 60, false),
            ("GetReport, one schedule, a year, 200 points", 365, 200, true),
            ("GetReport, everything", 2000, 0, false),
            ("GetReport, everything, 200 points", 2000, 200, false),
        ] {
            table.measure(what, runs, |index| {
                let schedule = if one { schedule(index as u64) } else { String::new() };
                let request = v1::GetReportRequest { schedule, since: days_ago(days), until: None, points };
                runtime.block_on(client.get_report(request)).unwrap();
            });
        }
    }

    fn lists(&self, table: &mut Table, ids: &[String], runs: usize) {
        let mut client = self.client();
        let some = |schedule: &str, state: BuildState| v1::ListBuildsRequest {
            schedule: schedule.to_owned(),
            state: state.into(),
            ..v1::ListBuildsRequest::default()
        };
        let any = BuildState::Unspecified;
        let hour_ago = std::time::SystemTime::now() - Duration::from_hours(1);
        let cases = [
            ("ListBuilds", some("", any)),
            ("ListBuilds, 500 on a page", v1::ListBuildsRequest { page_size: 500, ..some("", any) }),
            ("ListBuilds of a schedule", some("schedule-07", any)),
            ("ListBuilds, failed", some("", BuildState::Failed)),
            ("ListBuilds of a schedule, failed", some("schedule-07", BuildState::Failed)),
            ("ListBuilds of a schedule, none is building", some("schedule-07", BuildState::Building)),
            ("ListBuilds of a schedule that is not there", some("nothing", any)),
            (
                "ListBuilds of the last hour",
                v1::ListBuildsRequest { since: Some(hour_ago.into()), ..some("", any) },
            ),
        ];
        for (what, request) in cases {
            table.measure(what, runs, |_| {
                self.runtime.block_on(client.list_builds(request.clone())).unwrap();
            });
        }
        table.measure("ListBuilds, a page deep in the history", runs, |index| {
            let page_token = ids[index % ids.len()].clone();
            let request = v1::ListBuildsRequest { page_token, ..some("schedule-07", any) };
            self.runtime.block_on(client.list_builds(request)).unwrap();
        });
    }

    pub(crate) fn pages(&self, table: &mut Table, ids: &[String], runs: usize) {
        let id = |index: usize| ids[index % ids.len()].clone();
        let fixed = [
            "/",
            "/builds",
            "/builds?schedule=schedule-07&state=failed",
            "/builds?since=365d",
            "/schedules/schedule-07",
            "/schedules/schedule-07?since=365d",
            "/metrics",
            "/healthz",
        ];
        for path in fixed {
            self.page(table, path, runs, |_| path.to_owned());
        }
        self.page(table, "/builds?before=BUILD", runs, |index| format!("/builds?before={}", id(index)));
        self.page(table, "/builds/BUILD", runs, |index| format!("/builds/{}", id(index)));
        self.page(table, "/builds/BUILD?log=build&q=libsystemd0", runs, |index| {
            format!("/builds/{}?log=build&q=libsystemd0", id(index))
        });
        self.page(table, "/builds/BUILD/logs/build.log", runs, |index| {
            format!("/builds/{}/logs/build.log", id(index))
        });
        self.page(table, "/compare?a=A&b=B", runs, |index| {
            format!("/compare?a={}&b={}", id(index), id(index * 7 + 1))
        });
    }

    fn page(&self, table: &mut Table, what: &str, runs: usize, path: impl Fn(usize) -> String) {
        table.measure(&format!("GET {what}"), runs, |index| {
            let (status, body) = self.get(&path(index));
            assert!(status == 200 && body > 0, "GET {what}: {status}");
        });
    }

    /// The status and the length of an answer, over a connection of its own.
    fn get(&self, path: &str) -> (u16, usize) {
        let mut stream = TcpStream::connect(&self.operator).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let host = &self.operator;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let head = String::from_utf8_lossy(&answer[..answer.len().min(20)]).into_owned();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), answer.len())
    }

    /// The most memory that it has had, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
