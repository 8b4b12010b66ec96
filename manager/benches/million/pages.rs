//! The pages, and the JSON beside them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::serving::Serving;
use super::table::{Act, Acts};
use super::verbs::end_of;

/// Those that are the same each time.
const FIXED: [&str; 27] = [
    "/",
    "/?show=attention&sort=name",
    "/?group=cloud&page=4",
    "/builds",
    "/builds?schedule=schedule-007&state=failed",
    "/builds?since=365d",
    "/schedules/schedule-007",
    "/schedules/schedule-007?since=365d",
    "/images",
    "/images?name=image-007&removed=show",
    "/assets/app.js",
    "/assets/style.css",
    "/metrics",
    "/healthz",
    "/api/v1/openapi.json",
    "/api/v1/schedules",
    "/api/v1/builds",
    "/api/v1/builds?page_size=500",
    "/api/v1/builds?schedule=schedule-007&state=failed",
    "/api/v1/builds/latest",
    "/api/v1/builds/schedule-007",
    "/api/v1/images",
    "/api/v1/images?name=image-007&removed=true",
    "/api/v1/report",
    "/api/v1/report?points=60",
    "/api/v1/report?schedule=schedule-007&points=60",
    "/api/v1/report?since=2020-01-01T00:00:00Z",
];

/// All of them.
pub(crate) fn all<'a>(serving: &'a Serving, ids: &'a [String]) -> Acts<'a> {
    let mut acts: Acts<'a> =
        FIXED.into_iter().map(|path| page(serving, path, move |_| path.to_owned())).collect();
    let id = move |index: usize| ids[index % ids.len()].as_str();
    let two = move |path: &str, index: usize| format!("{path}?a={}&b={}", id(index), id(index * 7 + 1));
    acts.extend([
        page(serving, "/builds?before=BUILD", move |index| format!("/builds?before={}", id(index))),
        page(serving, "/builds/BUILD", move |index| format!("/builds/{}", id(index))),
        page(serving, "/builds/END-OF-ID", move |index| format!("/builds/{}", end_of(id(index)))),
        page(serving, "/builds/BUILD?log=build&q=libsystemd0", move |index| {
            format!("/builds/{}?log=build&q=libsystemd0", id(index))
        }),
        page(serving, "/builds/BUILD/logs/build.log", move |index| {
            format!("/builds/{}/logs/build.log", id(index))
        }),
        page(serving, "/compare?a=A&b=B", move |index| two("/compare", index)),
        page(serving, "/api/v1/builds/BUILD", move |index| format!("/api/v1/builds/{}", id(index))),
        page(serving, "/api/v1/compare?a=A&b=B", move |index| two("/api/v1/compare", index)),
    ]);
    acts
}

fn page<'a>(serving: &'a Serving, what: &str, path: impl Fn(usize) -> String + 'a) -> (String, Act<'a>) {
    let act = move |index| {
        let (status, length) = get(serving.operator(), &path(index));
        if status == 200 && length > 0 {
            Ok(())
        } else {
            Err(format!("it answered {status}, {length} bytes"))
        }
    };
    (format!("GET {what}"), Box::new(act))
}

/// The status and the length of an answer, over a connection of its own.
fn get(operator: &str, path: &str) -> (u16, usize) {
    let mut stream = TcpStream::connect(operator).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {operator}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = String::from_utf8_lossy(&answer[..answer.len().min(20)]).into_owned();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), answer.len())
}
