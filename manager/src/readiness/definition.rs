//! Mistakes in the schedules' elements, as disk-image-builder would find them at the beginning of a build.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::distribution::{self, Resolution};
use super::elements::{Answer, Resolved, Unresolved, resolve};
use super::machines;
use crate::lifecycle::Settings;
use crate::schedules::{LoadError, Mistake, Schedule, Schedules, Subject, nearest};

/// The element without which no build can pass.
const AGENT: &str = "agent-install";
/// Variables besides `DIB_*` that disk-image-builder itself knows, and those that its downloads obey.
const PASSED: [&str; 7] =
    ["ARCH", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];
/// Most names that a message lists.
const LISTED: usize = 6;

/// What disk-image-builder makes of the schedules' elements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Definition {
    /// What each schedule's elements expand to; without those that could not be resolved.
    pub elements: BTreeMap<String, BTreeSet<String>>,
    /// What is wrong, in the file's order.
    pub mistakes: Vec<Mistake>,
    /// What may be right and cannot be known, in the file's order.
    pub notes: Vec<String>,
    /// Why disk-image-builder does not say.
    pub unknown: Option<String>,
}

impl Definition {
    /// The mistakes as those of the file; `Ok` when there are none.
    pub fn into_result(self, schedules: &Schedules) -> Result<Self, LoadError> {
        schedules.refuse(&self.mistakes)?;
        Ok(self)
    }
}

/// Asks disk-image-builder's resolver about the schedules that are `needed`. Takes a fraction of a second for all that
/// have the same directories of elements; blocks.
pub fn definition(
    schedules: &Schedules,
    settings: &Settings,
    needed: &(dyn Fn(&Schedule) -> bool + Sync),
) -> Definition {
    let needed: Vec<&Schedule> = schedules.schedules.iter().filter(|schedule| needed(schedule)).collect();
    // By where the elements are looked for: what a name means may differ.
    let mut by_path: BTreeMap<Vec<PathBuf>, Vec<&Schedule>> = BTreeMap::new();
    let mut whole = Definition::default();
    for schedule in needed {
        let absent = absent_directories(schedule);
        // What is missing besides may lie there.
        if absent.is_empty() {
            by_path.entry(settings.elements_of(&schedule.image)).or_default().push(schedule);
        }
        whole.mistakes.extend(absent);
    }
    for (path, group) in by_path {
        let lists: BTreeSet<&[String]> =
            group.iter().map(|schedule| schedule.image.elements.as_slice()).collect();
        let lists: Vec<&[String]> = lists.into_iter().collect();
        match resolve(&settings.dib, &path, &lists) {
            Some(Ok(answer)) => {
                let judged = judge(&group, &lists, &answer);
                whole.elements.extend(judged.elements);
                whole.mistakes.extend(judged.mistakes);
                whole.notes.extend(judged.notes);
            }
            Some(Err(why)) => whole.unknown = Some(why),
            None => {}
        }
    }
    whole
}

fn judge(needed: &[&Schedule], lists: &[&[String]], answer: &Answer) -> Definition {
    let by_list: BTreeMap<_, _> = lists.iter().copied().zip(&answer.lists).collect();
    let mut definition = Definition::default();
    for schedule in needed {
        definition.mistakes.extend(undeclared(schedule, answer));
        match by_list.get(schedule.image.elements.as_slice()) {
            Some(Resolved::Elements { elements, brings }) => {
                let elements: BTreeSet<String> = elements.iter().cloned().collect();
                let resolution = Resolution { elements: &elements, brings, inits: &answer.inits };
                definition.mistakes.extend(distribution::mistakes(schedule, &resolution));
                definition.notes.extend(distribution::note(schedule, &elements));
                definition.notes.extend(machines::note(schedule, &elements));
                if !elements.contains(AGENT) {
                    definition.mistakes.push(no_agent(schedule));
                }
                definition.elements.insert(schedule.name.clone(), elements);
            }
            Some(Resolved::Error(error)) => definition.mistakes.extend(mistakes(schedule, error, answer)),
            None => {}
        }
    }
    definition
}

/// Variables that no element knows. They would reach every program of this host that the build runs as root, and the one
/// that takes options from its environment is not on any list; so only names that somebody declares are passed on.
fn undeclared<'a>(schedule: &'a Schedule, answer: &'a Answer) -> impl Iterator<Item = Mistake> + 'a {
    let allowed =
        |name: &str| name.starts_with("DIB_") || PASSED.contains(&name) || answer.declared.contains(name);
    schedule.image.environment.keys().filter(move |name| !allowed(name)).map(|name| {
        let help = match nearest(name, answer.declared.iter().map(String::as_str)) {
            Some(guess) => format!("did you mean `{guess}`?"),
            None => "only `DIB_*`, `ARCH`, proxies and what an element declares in its environment.d are passed on; \
                     declare it there: `export NAME=${NAME:-}`"
                .to_owned(),
        };
        let title = format!("environment variable `{name}` is not allowed");
        Mistake::of(schedule, Subject::Variable(name.clone()), title, "no element declares it", help)
    })
}

/// Directories of elements that are not there.
fn absent_directories(schedule: &Schedule) -> Vec<Mistake> {
    let paths = schedule.image.elements_path.iter().enumerate().filter(|(_, path)| !path.is_dir());
    paths
        .map(|(position, path)| {
            Mistake::of(
                schedule,
                Subject::Directory(position),
                format!("`image.elements_path`: there is no directory {}", path.display()),
                "not a directory",
                "make it, or name another one; a relative path is resolved from the directory of the schedules file",
            )
        })
        .collect()
}

fn no_agent(schedule: &Schedule) -> Mistake {
    Mistake::of(
        schedule,
        Subject::Elements,
        format!("the image of `{}` gets no agent", schedule.name),
        format!("no `{AGENT}`, nor an element that needs it"),
        format!("add \"{AGENT}\": without the agent's report no build can pass"),
    )
}

fn mistakes(schedule: &Schedule, error: &Unresolved, answer: &Answer) -> Vec<Mistake> {
    match error {
        Unresolved::Missing { gaps } if !gaps.is_empty() => {
            gaps.iter().map(|(name, by)| missing(schedule, name, by, answer)).collect()
        }
        Unresolved::Missing { .. } => vec![Mistake::of(
            schedule,
            Subject::Elements,
            format!("the elements of `{}` need one that does not exist", schedule.name),
            "disk-image-builder cannot find all of them",
            "look at their element-deps files",
        )],
        Unresolved::NoOs => vec![Mistake::of(
            schedule,
            Subject::Elements,
            format!("no element of `{}` provides an operating system", schedule.name),
            "no operating system",
            format!("add one of {}", some(&answer.systems)),
        )],
        Unresolved::Conflict { twice } => twice
            .iter()
            .map(|(what, who)| {
                let mut named = schedule.image.elements.iter().filter(|name| who.contains(name));
                Mistake::of(
                    schedule,
                    named.nth(1).cloned().map_or(Subject::Elements, Subject::Element),
                    format!("the elements {} of `{}` exclude each other", who.join(" and "), schedule.name),
                    format!("more than one provides `{what}`"),
                    format!("leave out all but one: each of them provides `{what}`"),
                )
            })
            .collect(),
    }
}

fn missing(schedule: &Schedule, name: &str, by: &str, answer: &Answer) -> Mistake {
    let known = answer.known.iter().map(String::as_str);
    let guess = nearest(name, known).map(|guess| format!("did you mean \"{guess}\"?"));
    let own = schedule.image.elements.iter().any(|element| element == name);
    let (place, title) = if own {
        (Subject::Element(name.to_owned()), format!("there is no element `{name}`"))
    } else {
        (Subject::Element(by.to_owned()), format!("the element `{by}` needs `{name}`, which does not exist"))
    };
    let nowhere =
        "neither disk-image-builder nor the directories of --elements and image.elements_path have it";
    Mistake::of(schedule, place, title, "not among the elements", guess.unwrap_or_else(|| nowhere.to_owned()))
}

/// The first few names.
fn some(names: &[String]) -> String {
    let mut text = names.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > LISTED {
        text.push_str(", ...");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::schedules::parse;

    fn judged(elements: &str, resolved: &str) -> (String, Definition) {
        let text = format!("[schedule.a]\nimage.elements = {elements}\n");
        let schedules = parse(Path::new("schedules.toml"), &text).unwrap();
        let needed: Vec<&Schedule> = schedules.schedules.iter().collect();
        let list = schedules.schedules[0].image.elements.as_slice();
        let answer = format!(
            r#"{{"known": ["vm", "debian-minimal"], "systems": ["debian-minimal"], "lists": [{resolved}]}}"#
        );
        let definition = judge(&needed, &[list], &serde_json::from_str(&answer).unwrap());
        let shown = schedules
            .refuse(&definition.mistakes)
            .map_or_else(|error| error.render(false), |()| String::new());
        (shown, definition)
    }

    #[test]
    fn a_server_with_uefi_and_no_efi_system_partition_is_told() {
        let notes = |rest: &str, expanded: &str| {
            let text = format!("[schedule.a]\nimage.elements = [\"vm\"]\n{rest}\n");
            let schedules = parse(Path::new("schedules.toml"), &text).unwrap();
            let list = schedules.schedules[0].image.elements.as_slice();
            let answer = format!(
                r#"{{"known": [], "systems": [], "lists": [{{"elements": [{expanded}, "agent-install"]}}]}}"#
            );
            judge(&[&schedules.schedules[0]], &[list], &serde_json::from_str(&answer).unwrap()).notes.concat()
        };
        let uefi = "server.firmware = \"uefi\"";
        assert!(notes(uefi, r#""vm""#).contains("add \"block-device-efi\""));
        assert_eq!(notes(uefi, r#""vm", "block-device-efi""#), "");
        assert_eq!(notes("server.firmware = \"bios\"", r#""vm""#), "");
    }

    #[test]
    fn a_directory_of_elements_that_is_not_there_is_a_mistake_at_its_place() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("own")).unwrap();
        std::fs::write(place.path().join("file"), "").unwrap();
        let text = "[schedule.a]\nimage.elements = [\"vm\"]\nimage.elements_path = [\"own\", \"file\", \"nowhere\"]\n";
        let schedules = parse(&place.path().join("schedules.toml"), text).unwrap();
        let settings = super::super::host::tests::settings();
        let found = definition(&schedules, &settings, &|_| true);
        let shown = schedules.refuse(&found.mistakes).unwrap_err().render(false);
        for piece in
            ["there is no directory", "/file", "/nowhere", "schedules.toml:3:31", ":3:39", "2 errors in"]
        {
            assert!(shown.contains(piece), "{piece}: {shown}");
        }
    }

    #[test]
    fn only_variables_that_somebody_declares_are_passed_on() {
        let text = "[schedule.a]\nimage.elements = [\"own\"]\nimage.environment = { DIB_RELEASE = \"x\", ARCH = \"amd64\", \
                    MINE = \"1\", THEIRS = \"1\" }\n";
        let schedules = parse(Path::new("schedules.toml"), text).unwrap();
        let needed: Vec<&Schedule> = schedules.schedules.iter().collect();
        let answer = r#"{"known": [], "systems": [], "declared": ["MINE"], "lists": [{"elements": ["agent-install"]}]}"#;
        let list = schedules.schedules[0].image.elements.as_slice();
        let definition = judge(&needed, &[list], &serde_json::from_str(answer).unwrap());
        let shown = schedules.refuse(&definition.mistakes).unwrap_err().render(false);
        for piece in ["`THEIRS` is not allowed", "schedules.toml:3:70", "environment.d", "1 error in"] {
            assert!(shown.contains(piece), "{shown}");
        }
    }

    #[test]
    fn mistakes_have_their_place_in_the_file() {
        let cases = [
            (
                r#"["debian-minimal", "vmm"]"#,
                r#"{"error": "missing", "gaps": [["vmm", ""]]}"#,
                &["there is no element `vmm`", "schedules.toml:2:37", "did you mean \"vm\"?"][..],
            ),
            (
                r#"["mine"]"#,
                r#"{"error": "missing", "gaps": [["theirs", "mine"]]}"#,
                &[
                    "the element `mine` needs `theirs`, which does not exist",
                    "schedules.toml:2:19",
                    "--elements",
                ],
            ),
            (
                r#"["vm"]"#,
                r#"{"error": "no_os"}"#,
                &[
                    "no element of `a` provides an operating system",
                    "schedules.toml:2:7",
                    "add one of debian-minimal",
                ],
            ),
            (
                r#"["x", "y"]"#,
                r#"{"error": "conflict", "twice": {"operating-system": ["x", "y"]}}"#,
                &["the elements x and y of `a` exclude each other", "provides `operating-system`"],
            ),
            (
                r#"["debian-minimal"]"#,
                r#"{"elements": ["debian-minimal", "vm"]}"#,
                &["the image of `a` gets no agent", "add \"agent-install\""],
            ),
        ];
        for (elements, resolved, pieces) in cases {
            let (shown, _) = judged(elements, resolved);
            assert!(pieces.iter().all(|piece| shown.contains(piece)), "{shown}");
            assert!(shown.contains("1 error in schedules.toml"), "{shown}");
        }
        let (shown, definition) = judged(r#"["own"]"#, r#"{"elements": ["own", "agent-install"]}"#);
        assert_eq!((shown.as_str(), definition.elements["a"].len()), ("", 2));
    }
}
