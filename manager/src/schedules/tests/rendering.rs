use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::{LoadErrorReason, load, parse};
use super::{refused, repeated};

const SIX_MISTAKES: &str = r#"[defaults]
timezone = "Europe/Berln"

[schedule.debian]
cron  = "0 25 * * *"
image = { elements = ["debian-minimal", "vm"], enviroment = { DIB_RELEASE = "bookworm" } }
server = { memory = "4 GiB", cpus = "2" }

[schedule.ubuntu]
cron = "@daily"
timeouts = { build = "1 hr 30" }
image = { elements = [] }
"#;

const SIX_MISTAKES_RENDERED: &str = r#"error: `timezone`: `Europe/Berln` is not a time zone
 --> etc/schedules.toml:2:12
  |
2 | timezone = "Europe/Berln"
  |            ^^^^^^^^^^^^^^ unknown time zone
  |
  = help: did you mean "Europe/Berlin"?

error: `cron`: `0 25 * * *` is not a cron entry
 --> etc/schedules.toml:5:12
  |
5 | cron  = "0 25 * * *"
  |            ^^ `25` is not a value of the hour field
  |
  = help: this field takes 0 to 23

error: unknown key `enviroment` in `image`
 --> etc/schedules.toml:6:48
  |
6 | image = { elements = ["debian-minimal", "vm"], enviroment = { DIB_RELEASE = "bookworm" } }
  |                                                ^^^^^^^^^^ unknown key
  |
  = help: did you mean `environment`?

error: `server.cpus` must be a whole number, not a string
 --> etc/schedules.toml:7:37
  |
7 | server = { memory = "4 GiB", cpus = "2" }
  |                                     ^^^ expected a whole number
  |
  = help: write `cpus = 2`, without quotation marks

error: `timeouts.build`: `1 hr 30` is not a duration
  --> etc/schedules.toml:11:23
   |
11 | timeouts = { build = "1 hr 30" }
   |                       ^^^^^^^ the unit is missing
   |
   = help: write "30s" for seconds or "30m" for minutes

error: `image.elements` is empty
  --> etc/schedules.toml:12:22
   |
12 | image = { elements = [] }
   |                      ^^ expected an element
   |
   = help: an image needs at least one, such as "debian-minimal"

6 errors in schedules.toml
"#;

#[test]
fn every_mistake_is_shown_with_line_and_caret() {
    let error = parse(Path::new("etc/schedules.toml"), SIX_MISTAKES).unwrap_err();
    assert_eq!(error.render(false), SIX_MISTAKES_RENDERED);
    assert_eq!(error.diagnostics().len(), 6);
    assert_eq!(error.to_string(), "cannot use etc/schedules.toml");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "6 errors");
    let colored = error.render(true);
    assert!(colored.contains("\u{1b}[") && colored.contains("Europe/Berlin"));
}

#[test]
fn secrets_are_blotted_out() {
    let error = refused(
        "[schedule.a.image]\nelements = [\"vm\"]\nenvironment = { DB_PASSWORD = \"hunter2\", PATH = \"x\" }\n\
         ssh_authorized_keys = [\"\"\"\n-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz\n\"\"\", \"b3BlbnNzaC1rZXktdjEAAAAABG5v\"]\n",
    );
    let shown = format!("{}{error:?}", error.render(false));
    assert_eq!(error.diagnostics().len(), 4, "{shown}");
    for secret in ["hunter2", "BEGIN OPENSSH", "b3BlbnNz"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("DB_PASSWORD = *********, PATH = \"x\""), "{shown}");
}

#[test]
fn passwords_in_the_wrong_place_of_an_image_are_blotted_out() {
    let repository = |rest: &str| format!("repositories = [{{ name = \"a\", suites = [\"./\"], {rest} }}]");
    for text in [
        repository("url = \"https://h/\", auth = \"robot:swordfish\""),
        repository("url = \"robot:swordfish@host/debian\""),
        repository("url = \"https://h/\", password = \"swordfish\""),
        "secrets = \"swordfish\"".to_owned(),
        "secrets = [\"swordfish\"]".to_owned(),
        "secrets = { PIN = \"swordfish\" }".to_owned(),
        "secrets = { PIN = 123456 }".to_owned(),
    ] {
        let error = refused(&format!("[schedule.a.image]\nelements = [\"vm\"]\n{text}\n"));
        let shown = format!("{}{error:?}", error.render(false));
        assert!(!shown.contains("swordfish") && !shown.contains("123456"), "{text}: {shown}");
    }
}

#[test]
fn files_that_are_no_text_are_clear_errors() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("schedules.toml");
    let missing = load(&path).unwrap_err();
    assert!(matches!(missing.reason, LoadErrorReason::Unreadable(_)));
    assert!(missing.render(false).starts_with("error: cannot read "), "{}", missing.render(false));
    assert!(missing.render(false).contains("schedules.toml: No such file"));
    assert!(matches!(load(directory.path()).unwrap_err().reason, LoadErrorReason::Unreadable(_)));

    std::fs::write(&path, b"[defaults]\ncloud = \"\xff\"\n").unwrap();
    let binary = load(&path).unwrap_err();
    assert!(matches!(binary.reason, LoadErrorReason::NotUtf8 { line: 2 }));
    assert!(binary.render(false).contains("it is not UTF-8: line 2"), "{}", binary.render(false));

    std::fs::write(&path, "#".repeat(1 << 20)).unwrap();
    load(&path).unwrap();
    std::fs::write(&path, "#".repeat((1 << 20) + 1)).unwrap();
    let large = load(&path).unwrap_err();
    assert!(large.render(false).contains("larger than 1048576 bytes"), "{}", large.render(false));
    assert!(matches!(load(Path::new("/dev/zero")).unwrap_err().reason, LoadErrorReason::TooLarge { .. }));

    std::fs::write(&path, "\u{feff}[schedule.a]\r\nimage.elements = [\"vm\"]\r\ncron = \"x\"\r\n").unwrap();
    assert!(load(&path).unwrap_err().render(false).contains("schedules.toml:3:9"));
}

#[test]
fn the_worst_files_take_no_time() {
    let doubled = "x=1\n".repeat(50_000);
    let unknown = repeated(15_000, |number| format!("key_{number} = 1\n"));
    let quotes = "x = \"\n".repeat(25_000);
    let secrets = repeated(5_000, |number| format!("TOKEN_{number} = \"secret\"\n"));
    let secrets =
        format!("[defaults.image.environment]\n{secrets}{}", "[schedule.a]\nimage.elements = [\"x\"]");
    for text in [doubled, unknown, quotes, secrets] {
        let start = Instant::now();
        let shown = refused(&text).render(false);
        assert!(shown.lines().count() < 2000);
        assert!(start.elapsed() < Duration::from_secs(20), "{:?} for {:?}", start.elapsed(), &text[..20]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn damaged_files_never_panic(
        at in 0..SIX_MISTAKES.len(),
        removed in 0_usize..40,
        inserted in "[]\\[{}\"'=.,\n\r\t #a-zé\u{0}日]{0,6}",
    ) {
        let mut text = SIX_MISTAKES.to_owned();
        text.replace_range(at..(at + removed).min(text.len()), &inserted);
        if let Err(error) = parse(Path::new("schedules.toml"), &text) {
            for diagnostic in error.diagnostics() {
                prop_assert!(text.get(diagnostic.span.clone()).is_some(), "{:?}", diagnostic);
                prop_assert!(!diagnostic.title.contains('\n'));
            }
            prop_assert!(error.render(false).ends_with(" in schedules.toml\n"));
            prop_assert!(!error.render(true).is_empty());
        }
    }
}
