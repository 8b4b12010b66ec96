//! What shells, manual readers and log readers get.

use std::process::Command;

use super::harness::{Place, text, tiny_schedule};

#[test]
fn bash_completes_verbs_schedules_and_builds() {
    let schedules = [tiny_schedule("tiny-one", ""), tiny_schedule("tiny-two", "")].concat();
    let place = Place::new(&schedules);
    let script = place.expect(&["completions", "bash"], 0);
    std::fs::write(place.path().join("completions.bash"), script).unwrap();
    let offered = |line: &str| {
        // As bash calls it: the words so far, and the number of the one that is being written.
        let ask = format!(
            "source completions.bash; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             COMP_TYPE=9; COMP_LINE=; COMP_POINT=0; \
             \"$(complete -p image-manager | sed -n 's/.* -F \\([^ ]*\\) .*/\\1/p')\" \
             image-manager \"${{COMP_WORDS[COMP_CWORD]}}\" ''; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let mut bash = Command::new("bash");
        let output = bash.args(["--norc", "-c", &ask]).current_dir(place.path()).output().unwrap();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{out}{err}");
        out
    };
    assert!(offered("image-manager hist").contains("history"));
    assert!(offered("image-manager history --sched").contains("--schedule"));
    assert_eq!(offered("image-manager run tiny-").lines().collect::<Vec<_>>(), ["tiny-one", "tiny-two"]);
    assert!(!offered("image-manager show ''").contains("latest"), "there is no history yet");
    std::fs::create_dir(place.state()).unwrap();
    assert!(!place.state().join("image-manager.db").exists(), "completing must make nothing");
    place.expect(&["run", "tiny-one", "--dib", "/nowhere/dib"], 2);
    let id = place.latest()["id"].as_str().unwrap().to_owned();
    let builds = offered("image-manager show ''");
    assert!(builds.contains("latest") && builds.contains(&id), "{builds}");
}

#[test]
fn every_verb_has_a_manual_page() {
    let place = Place::new("");
    let help = place.expect(&["--help"], 0);
    place.expect(&["man", "pages"], 0);
    let page = |name: &str| std::fs::read_to_string(place.path().join("pages").join(name)).unwrap();
    assert!(page("image-manager.1").contains("Exit codes"));
    let verbs = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let verbs: Vec<&str> = verbs
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .collect();
    assert!(verbs.len() >= 10, "{verbs:?}");
    for verb in verbs {
        let page = page(&format!("image-manager-{verb}.1"));
        assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{verb}: {page}");
    }
    assert!(place.expect(&["man"], 0).contains(".TH image-manager"));
    place.expect(&["man", "schedules.toml/pages"], 64);
}

#[test]
fn the_log_is_text_or_json_and_has_the_output_of_dib() {
    let place = Place::tiny("image.environment = { TINY_BUILD_FAIL = \"package\" }");
    let serving = place.serve_with(&["--log-format", "json", "--log-file", "manager.log"]);
    let asked = place.command(&["run", "tiny"]).output().unwrap();
    assert_eq!(asked.status.code(), Some(1), "{}", text(&asked.stderr));
    let id = place.latest()["id"].as_str().unwrap().to_owned();
    assert_eq!(serving.terminate(), Some(0));
    let file = std::fs::read_to_string(place.path().join("manager.log")).unwrap();
    for log in [&place.serve_log(), &file] {
        let lines: Vec<serde_json::Value> =
            log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
        let said = |line: &serde_json::Value| line["message"].as_str().unwrap_or_default().to_owned();
        let dib: Vec<_> = lines.iter().filter(|line| said(line).starts_with("[DIB] ")).collect();
        assert!(dib.iter().any(|line| said(line).contains("Unable to locate package")), "{log}");
        assert!(dib.iter().all(|line| line["target"] == "dib" && line["build"] == id.as_str()), "{log}");
        assert!(lines.iter().any(|line| said(line) == "serving"), "{log}");
    }
    let output = place
        .command(&["run", "tiny", "--log", "info", "--log-file", "run.log"])
        .env("IMAGE_MANAGER_LOG_FORMAT", "text")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = std::fs::read_to_string(place.path().join("run.log")).unwrap();
    assert!(log.contains("INFO dib: [DIB] ") && !log.contains('\u{1b}'), "{log}");
    let quiet = place.expect(&["run", "tiny", "--log", "info,dib=warn"], 1);
    assert!(!quiet.contains("[DIB]"), "{quiet}");
    // Another word for a level is that level, and a part by itself silences no other.
    for (filter, variable) in [(Some("warning"), ""), (None, "WARNING"), (Some("warn,dib=warning"), "")] {
        let mut run = place.command(&["run", "tiny"]);
        match filter {
            Some(filter) => run.args(["--log", filter]),
            None => run.env("IMAGE_MANAGER_LOG", variable),
        };
        let said = text(&run.output().unwrap().stderr);
        assert!(said.contains(" WARN ") && said.contains("dib_package_missing"), "{filter:?}: {said}");
        assert!(!said.contains(" INFO "), "{filter:?}: {said}");
    }
    let mut empty = place.command(&["run", "tiny"]);
    let empty = empty.env("IMAGE_MANAGER_LOG", "").output().unwrap();
    assert_eq!(empty.status.code(), Some(64), "{}", text(&empty.stderr));
    let part = place.serve_with(&["--log", "dib=error"]);
    assert_eq!(part.terminate(), Some(0));
    assert!(place.serve_log().contains("INFO image_manager"), "{}", place.serve_log());

    place.assert_nothing_left();
}
