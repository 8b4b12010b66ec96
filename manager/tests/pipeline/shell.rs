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

/// They are asked with the variable that names the shell, by the path of the program.
#[test]
fn zsh_and_fish_ask_the_program_too() {
    let place = Place::new("");
    // As the program knows itself, wherever the directory of the build is a link to.
    let program = std::fs::canonicalize(env!("CARGO_BIN_EXE_image-manager")).unwrap();
    let program = program.to_str().unwrap();
    let zsh = place.expect(&["completions", "zsh"], 0);
    // By its first line zsh knows, in a directory of `fpath`, what the file completes.
    assert_eq!(zsh.lines().next(), Some("#compdef image-manager"));
    assert!(zsh.contains("IMAGE_MANAGER_COMPLETE=\"zsh\"") && zsh.contains(program), "{zsh}");
    // There, the file is the function that is to complete the first time; one that is sourced is not.
    let first = "\nif [[ $funcstack[1] == _image-manager ]]; then\n    $_comps[image-manager] \"$@\"\nfi\n";
    assert!(zsh.ends_with(first), "{zsh}");
    let fish = place.expect(&["completions", "fish"], 0);
    assert!(fish.starts_with("complete ") && fish.contains("--command image-manager"), "{fish}");
    assert!(fish.contains("IMAGE_MANAGER_COMPLETE=fish") && fish.contains(program), "{fish}");

    let asked = |shell: &str| {
        let mut ask = place.command(&["--", "image-manager", "hist"]);
        let output =
            ask.env("IMAGE_MANAGER_COMPLETE", shell).env("_CLAP_COMPLETE_INDEX", "1").output().unwrap();
        assert!(output.status.success(), "{shell}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    assert!(asked("zsh").starts_with("history:"), "{}", asked("zsh"));
    assert!(asked("fish").starts_with("history\t"), "{}", asked("fish"));
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
    let asked = ["--log-format", "json", "--log-file", "manager.log", "--log", "info,dib=info"];
    let serving = place.serve_with(&asked);
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
        .command(&["run", "tiny", "--log", "info,dib=info", "--log-file", "run.log"])
        .env("IMAGE_MANAGER_LOG_FORMAT", "text")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = std::fs::read_to_string(place.path().join("run.log")).unwrap();
    assert!(log.contains("INFO dib: [DIB] ") && !log.contains('\u{1b}'), "{log}");
    // Not by itself: it is in the log of its build.
    let quiet = place.expect(&["run", "tiny", "--log", "debug"], 1);
    assert!(quiet.contains(" WARN ") && !quiet.contains("[DIB]"), "{quiet}");
    assert!(place.expect(&["logs", "latest"], 0).contains("Unable to locate package"));
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

#[test]
fn the_first_line_is_the_dashboards_address() {
    let place = Place::tiny("");
    let first = || place.serve_log().lines().next().unwrap_or_default().to_owned();
    let serving = place.serve();
    assert_eq!(first(), format!("Dashboard: http://{}/", serving.operator));
    assert_eq!(serving.terminate(), Some(0));
    // Neither a level nor another format changes that.
    let serving = place.serve_with(&["--log", "error", "--public-url", "https://images.example.org/im/"]);
    assert_eq!(first(), "Dashboard: https://images.example.org/im/");
    assert_eq!(serving.terminate(), Some(0));
    let serving = place.serve_with(&["--log-format", "json"]);
    let line: serde_json::Value = serde_json::from_str(&first()).unwrap();
    assert_eq!(line["message"], format!("Dashboard: http://{}/", serving.operator));
    assert_eq!(serving.terminate(), Some(0));
}

#[test]
fn a_run_ends_with_the_verdict_the_reason_and_what_to_do_next() {
    let place = Place::tiny("image.environment = { TINY_BUILD_FAIL = \"package\" }");
    let said = place.expect(&["run", "tiny"], 1);
    let id = place.latest()["id"].as_str().unwrap().to_owned();
    let lines: Vec<&str> = said.trim_end().lines().collect();
    let last = &lines[lines.len() - 4..];
    assert!(last[0].starts_with(&format!("FAILED  build {id} of tiny on local, took ")), "{said}");
    assert!(last[1].starts_with("dib_package_missing while building: "), "{said}");
    assert_eq!(last[2], format!("Details: image-manager show {id}"));
    assert!(last[3].starts_with("Next: "), "{said}");
    for stage in ["building", "cleaning_up"] {
        let marks = [format!("✔ {stage} "), format!("✘ {stage} ")];
        let told = lines.iter().filter(|line| marks.iter().any(|mark| line.starts_with(mark)));
        assert_eq!(told.count(), 1, "{stage} is told once:\n{said}");
    }
    assert!(!said.contains("resources"), "that is what `show` is for:\n{said}");

    // On a terminal of 80 columns no word is broken, and no line is longer but for one word.
    for arguments in [format!("show {id} --details"), "history".to_owned(), "run tiny 2>/dev/null".to_owned()]
    {
        let narrow = on_80_columns(&place, &arguments);
        for line in narrow.lines() {
            let words = line.split_whitespace().count();
            assert!(line.chars().count() <= 80 || words <= 1, "{arguments}: {line:?}\n{narrow}");
        }
    }
    let wide = place.expect(&["show", &id, "--details"], 0);
    let words = |text: &str| -> Vec<String> {
        let words = text.split_whitespace().filter(|word| word.chars().all(char::is_alphabetic));
        words.map(str::to_owned).collect()
    };
    assert_eq!(words(&on_80_columns(&place, &format!("show {id} --details"))), words(&wide));
}

/// What the program prints on a terminal of 80 columns, without colours.
fn on_80_columns(place: &Place, arguments: &str) -> String {
    let program = env!("CARGO_BIN_EXE_image-manager");
    let line = format!("stty cols 80 rows 24; '{program}' {arguments}");
    let mut command = Command::new("script");
    command.args(["--quiet", "--command", &line, "/dev/null"]).current_dir(place.path());
    command.stdin(std::process::Stdio::null());
    let plain = place.command(&[]);
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    // Neither colours nor a bar: they are another test's.
    let output = command.env("TERM", "dumb").output().unwrap();
    text(&output.stdout).replace('\r', "")
}
