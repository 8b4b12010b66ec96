//! Who is let in at the operator port, for what, and what is remembered of it: the real program, and clients that run
//! as root and as nobody.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::harness::{Place, Serving, text, wait_for};

/// The account that has nothing.
const NOBODY: &str = "65534";

/// `curl` as root or as nobody; its status and its whole answer with headers.
fn curl(nobody: bool, serving: &Serving<'_>, path: &str, more: &[&str]) -> (u16, String) {
    let mut command = if nobody {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--clear-groups", "--inh-caps=-all", "curl"]);
        command
    } else {
        Command::new("curl")
    };
    let address = format!("http://{}{path}", serving.operator);
    let output = command.args(["-s", "-i", "-m", "30"]).args(more).arg(address).output().unwrap();
    let said = text(&output.stdout);
    let status = said.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("{said}{}", text(&output.stderr))), said)
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}")
}

/// Makes a token by the command line and returns its text.
fn token(place: &Place, name: &str, role: &str, more: &[&str]) -> String {
    let output = place.run(&[&["token", "create", name, "--role", role], more].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert_eq!(said.lines().count(), 1, "{said}");
    said.trim().to_owned()
}

#[test]
fn nobody_on_this_host_needs_a_token_and_root_needs_none() {
    let place = Place::tiny("");
    let serving = place.serve();
    let json = ["-H", "content-type: application/json", "-d", r#"{"schedule": "nothing"}"#];
    assert_eq!(curl(false, &serving, "/metrics", &[]).0, 200);
    assert_eq!(curl(false, &serving, "/", &[]).0, 200);
    assert_eq!(curl(false, &serving, "/build", &json).0, 404, "let in, and there is no such schedule");
    for path in ["/", "/metrics", "/builds", "/events", "/schedules/tiny"] {
        assert_eq!(curl(true, &serving, path, &[]).0, 401, "{path}");
    }
    assert_eq!(curl(true, &serving, "/build", &json).0, 401);
    assert_eq!(curl(true, &serving, "/healthz", &[]).0, 200, "anybody may ask whether it lives");
    let (status, said) = curl(true, &serving, "/builds", &["-H", "accept: text/html"]);
    assert!(status == 303 && said.contains("location: /login?next=/builds"), "{said}");
    let grpc = ["--http2-prior-knowledge", "-X", "POST", "-H", "content-type: application/grpc"];
    let list = "/image_manager.v1.ImageManager/ListSchedules";
    let (_, said) = curl(true, &serving, list, &grpc);
    assert!(said.contains("grpc-status: 16"), "{said}");
    let (status, said) = curl(false, &serving, list, &[]);
    assert!(status == 405 && said.contains("allow: POST"), "{said}");
    // An IPv6 or a foreign name changes nothing for root's browser: the page of another site is refused.
    assert_eq!(curl(false, &serving, "/", &["-H", "host: evil.example"]).0, 403);
    assert_eq!(serving.terminate(), Some(0));
}

#[test]
fn roles_bound_what_a_token_may_do_and_the_trail_knows_who_did_it() {
    let place = Place::tiny("image.environment = { TINY_BUILD_SECONDS = \"300\" }");
    let before = token(&place, "reader", "viewer", &["--state=state"]);
    let serving = place.serve();
    let operator = token(&place, "ci", "operator", &["--expires", "90d"]);
    let said = place.expect(&["token", "create", "ci", "--role", "admin"], 64);
    assert!(said.contains("image-manager token revoke ci"), "{said}");

    let ask = ["-H", "content-type: application/json", "-d", r#"{"schedule": "tiny"}"#];
    let as_reader = ["-H", &bearer(&before)].map(str::to_owned);
    let as_reader = as_reader.each_ref().map(String::as_str);
    assert_eq!(curl(true, &serving, "/builds", &as_reader).0, 200, "made while nobody served");
    let (status, said) = curl(true, &serving, "/nothing", &as_reader);
    assert!(status == 404 && said.contains("there is nothing here"), "{said}");
    assert_eq!(curl(true, &serving, "/nothing", &[]).0, 401, "who is not known is told nothing");
    let (status, said) = curl(true, &serving, "/build", &[&ask[..], &as_reader].concat());
    assert!(
        status == 403 && said.contains("token reader has the role viewer; this needs operator"),
        "{said}"
    );
    let as_ci = bearer(&operator);
    let as_ci = ["-H", as_ci.as_str()];
    assert_eq!(curl(true, &serving, "/build", &[&ask[..], &as_ci].concat()).0, 202);
    let id = place.wait_for_state(&["building"], Duration::from_mins(1))["id"].as_str().unwrap().to_owned();
    let (status, _) =
        curl(true, &serving, "/schedules/tiny/pause", &[&["-d", "next=/"][..], &as_ci].concat());
    assert_eq!(status, 303);
    assert_eq!(curl(false, &serving, &format!("/builds/{id}/cancel"), &["-X", "POST"]).0, 303);
    let build = place.wait_for_state(&["cancelled"], Duration::from_mins(1));
    assert_eq!(
        (&build["requested_by"], &build["cancelled_by"]),
        (&"token ci".into(), &"root (uid 0)".into())
    );
    let shown = place.expect(&["show", &id], 0);
    assert!(
        shown.contains("requested by token ci (web)") && shown.contains("cancelled by root (uid 0)"),
        "{shown}"
    );
    let (_, page) = curl(false, &serving, &format!("/builds/{id}"), &[]);
    assert!(page.contains("token ci (web)") && page.contains("cancelled by root (uid 0)"), "{page}");
    let (_, page) = curl(false, &serving, "/schedules/tiny", &[]);
    assert!(page.contains("paused on request, by token ci"), "{page}");

    let output = place.run(&["audit", "--format", "json"]);
    let rows: Vec<Json> = serde_json::from_slice(&output.stdout).unwrap();
    let told: Vec<_> = rows
        .iter()
        .rev()
        .map(|row| {
            ["principal", "action", "subject"].map(|key| row[key].as_str().unwrap().to_owned()).join(" | ")
        })
        .collect();
    let expected = [
        "root (uid 0) | token.created | reader",
        "root (uid 0) | token.created | ci",
        "token ci | build.triggered | tiny",
        "token ci | schedule.paused | tiny",
        "root (uid 0) | build.cancelled | tiny",
    ];
    assert_eq!(told, expected);
    assert_eq!(rows[0]["build_id"], id.as_str());
    let csv = place.expect(&["audit", "--format", "csv", "--limit", "1"], 0);
    assert!(csv.starts_with("id,time,principal,") && csv.lines().count() == 2, "{csv}");
    assert_eq!(serving.terminate(), Some(0));
    // Nothing that lets anybody in stands in the history or in the log.
    let database = std::fs::read(place.state().join("image-manager.db")).unwrap();
    let log = place.serve_log();
    for token in [&before, &operator] {
        assert!(
            !database.windows(token.len()).any(|window| window == token.as_bytes()) && !log.contains(token)
        );
    }
}

#[test]
fn a_link_lets_one_browser_in_once() {
    let place = Place::tiny("");
    let said = place.expect(&["login"], 64);
    assert!(said.contains("`image-manager serve` first"), "{said}");
    let serving = place.serve();
    let link = || {
        let output = place.run(&["login", "--role", "operator"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let address = text(&output.stdout).trim().to_owned();
        address.strip_prefix(&format!("http://{}", serving.operator)).unwrap().to_owned()
    };
    let path = link();
    assert_eq!(curl(true, &serving, &path, &["-I"]).0, 405, "whoever only asks does not use it up");
    let (status, said) = curl(true, &serving, &path, &[]);
    assert!(status == 303 && said.contains("location: /\r\n"), "{said}");
    assert!(
        said.contains("referrer-policy: no-referrer") && said.contains("cache-control: no-store"),
        "{said}"
    );
    let cookie = said.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let session = format!("cookie: {}", cookie.split(';').next().unwrap());
    let (status, page) = curl(true, &serving, "/", &["-H", &session]);
    assert!(status == 200 && page.contains("Log out") && page.contains("Build now"), "{page}");
    assert_eq!(curl(true, &serving, &path, &[]).0, 401, "once");
    let log = place.serve_log();
    assert!(!log.contains(path.trim_start_matches("/login/")), "the code is in the log:\n{log}");
    assert!(place.expect(&["audit"], 0).contains("login_link.created"));
    assert_eq!(serving.terminate(), Some(0));
}

#[test]
fn on_a_terminal_serve_prints_a_link() {
    let place = Place::tiny("");
    let program = place.command(&[]);
    let serve =
        format!("{} serve --operator 127.0.0.1:0 --gateway 127.0.0.1:0", env!("CARGO_BIN_EXE_image-manager"));
    let typescript = place.path().join("typescript");
    // script(1) gives it a terminal.
    let mut command = Command::new("script");
    command.args(["-q", "-f", "-e", "-c", &serve]).arg(&typescript).current_dir(place.path());
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let said = wait_for("the link", Duration::from_secs(90), || {
        let said = text(&std::fs::read(&typescript).ok()?);
        let (_, rest) = said.split_once("within 10 minutes: ")?;
        rest.contains('\n').then(|| rest.lines().next().unwrap().trim().to_owned())
    });
    let output = Command::new("setpriv")
        .args([
            "--reuid",
            NOBODY,
            "--clear-groups",
            "curl",
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            &said,
        ])
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "303", "{said}");
    // script(1) ends with what it runs, and not the other way round.
    let holder = std::fs::read_to_string(place.state().join("manager.json")).unwrap();
    let holder: serde_json::Value = serde_json::from_str(&holder).unwrap();
    assert!(Command::new("kill").arg(holder["pid"].to_string()).status().unwrap().success());
    child.wait().unwrap();
}

#[test]
fn a_revoked_token_ends_what_it_opened() {
    let place = Place::tiny("");
    let serving = place.serve();
    let text = token(&place, "tv", "viewer", &[]);
    let login = format!("token={text}&next=/builds");
    let (status, said) = curl(true, &serving, "/login", &["-d", &login]);
    assert!(status == 303 && said.contains("location: /builds"), "{said}");
    let cookie = said.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let session = format!("cookie: {}", cookie.split(';').next().unwrap());
    // As nobody: root would be let in without any of it.
    let follow = |name: &str, header: &str| -> Child {
        let address = format!("http://{}/events", serving.operator);
        let said = place.path().join(name);
        let child = Command::new("setpriv")
            .args([
                "--reuid",
                NOBODY,
                "--clear-groups",
                "curl",
                "-s",
                "-N",
                "-m",
                "60",
                "-H",
                header,
                &address,
            ])
            .stdout(std::fs::File::create(&said).unwrap())
            .spawn()
            .unwrap();
        wait_for("the stream", Duration::from_secs(20), || {
            std::fs::read_to_string(&said).unwrap().contains("hello").then_some(())
        });
        child
    };
    let mut streams = [follow("by-session", &session), follow("by-token", &bearer(&text))];
    assert_eq!(curl(true, &serving, "/", &["-H", &session]).0, 200);
    let began = Instant::now();
    for stream in &mut streams {
        assert!(stream.try_wait().unwrap().is_none(), "it is followed");
    }
    place.expect(&["token", "revoke", "tv"], 0);
    for stream in &mut streams {
        wait_for("the stream's end", Duration::from_secs(5), || stream.try_wait().unwrap());
    }
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!(curl(true, &serving, "/", &["-H", &session]).0, 401);
    assert_eq!(curl(true, &serving, "/", &["-H", &bearer(&text)]).0, 401);
    assert_eq!(serving.terminate(), Some(0));
}

#[test]
fn elsewhere_than_on_loopback_some_token_is_enough() {
    let place = Place::tiny("");
    let said = place.expect(&["serve", "--operator", "0.0.0.0:0", "--gateway", "127.0.0.1:0"], 64);
    assert!(said.contains("`image-manager token create NAME --role ROLE --state state`"), "{said}");
    let unnamed = place.expect(&["token", "create", "ci", "--role", "viewer"], 64);
    assert!(unnamed.contains("there is no state directory") && unnamed.contains("--state"), "{unnamed}");
    let text = token(&place, "ci", "viewer", &["--state=state"]);
    let serving = place.serve_with(&["--operator", "0.0.0.0:0"]);
    assert_eq!(curl(true, &serving, "/metrics", &[]).0, 401);
    assert_eq!(curl(true, &serving, "/metrics", &["-H", &bearer(&text)]).0, 200);
    assert_eq!(serving.terminate(), Some(0));
}

#[test]
fn weak_tokens_and_files_that_others_read_are_refused_with_what_mends_them() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::tiny("");
    let serve =
        ["serve", "--operator", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--api-token-file", "token"];
    for weak in ["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "passwordpassword", "0123456789abcdef"] {
        place.secret("token", weak);
        let said = place.expect(&serve, 64);
        assert!(said.contains("too weak") && said.contains("`openssl rand -hex 32 > token`"), "{said}");
    }
    place.secret("token", "4be1c9d27f05a38668d0f3127bce954a\n");
    let file = place.path().join("token");
    for (mode, who) in [
        (0o644, "everybody can read it"),
        (0o640, "its group can read it"),
        (0o602, "everybody can change it"),
    ] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let said = place.expect(&serve, 64);
        assert!(said.contains(who) && said.contains("`chmod 600 token`"), "{mode:o}: {said}");
    }
}
