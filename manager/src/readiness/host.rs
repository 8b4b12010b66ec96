//! What this host lacks for the builds of the schedules.

use std::collections::BTreeSet;
use std::path::Path;

use super::needs::{self, EFI, Need};
use super::{Definition, Finding, machines, own};
use crate::builder::check_room;
use crate::lifecycle::Settings;
use crate::programs::is_executable;
use crate::schedules::{Schedule, Schedules};

/// All that the schedules that are `needed` need of this host, what is there and what is not.
pub fn findings(
    schedules: &Schedules,
    definition: &Definition,
    settings: &Settings,
    needed: &(dyn Fn(&Schedule) -> bool + Sync),
) -> Vec<Finding> {
    let needed: Vec<&Schedule> = schedules.schedules.iter().filter(|schedule| needed(schedule)).collect();
    let mut findings: Vec<Finding> = needs::of_every_build().iter().map(Need::look).collect();
    findings.extend(of_schedules(&needed, definition));
    // Both need some programs.
    let there = |need: &Finding| findings.iter().any(|finding| finding.what == need.what);
    let of_servers: Vec<Finding> =
        machines::servers(&needed).into_iter().filter(|need| !there(need)).collect();
    findings.extend(of_servers);
    findings.push(dib(settings, definition.unknown.as_deref()));
    findings.extend(own::findings(&needed, settings));
    findings.extend(machines::agents(&needed, settings));
    findings.extend(machines::foreign(&needed));
    let efi = |schedule: &Schedule| EFI.iter().any(|name| elements(schedule, definition).contains(*name));
    if needed.iter().any(|schedule| efi(schedule)) {
        findings.push(machines::vfat().of(names(&needed, efi)));
    }
    findings.push(root());
    findings.push(room(settings));
    findings
}

/// What the schedules' elements need, each thing once, with the schedules that need it.
fn of_schedules(needed: &[&Schedule], definition: &Definition) -> Vec<Finding> {
    let mut needs: Vec<(Need, Vec<&str>)> = Vec::new();
    for schedule in needed {
        for need in needs::of(schedule, &elements(schedule, definition)) {
            let name = schedule.name.as_str();
            match needs.iter_mut().find(|(known, _)| *known == need) {
                // The same by two of its elements.
                Some((_, schedules)) if schedules.last() == Some(&name) => {}
                Some((_, schedules)) => schedules.push(name),
                None => needs.push((need, vec![name])),
            }
        }
    }
    needs.iter().map(|(need, schedules)| need.look().of(some_of(schedules, needed.len()))).collect()
}

/// What a schedule's elements expand to; where nobody knows that, they themselves.
fn elements(schedule: &Schedule, definition: &Definition) -> BTreeSet<String> {
    let named = || schedule.image.elements.iter().cloned().collect();
    definition.elements.get(&schedule.name).cloned().unwrap_or_else(named)
}

/// The names of those of the schedules that are `wanted`, unless that is everybody.
pub(super) fn names(needed: &[&Schedule], wanted: impl Fn(&Schedule) -> bool) -> Vec<String> {
    let some = needed.iter().filter(|schedule| wanted(schedule)).map(|schedule| schedule.name.as_str());
    some_of(&some.collect::<Vec<_>>(), needed.len())
}

/// The names, unless that is everybody.
fn some_of(schedules: &[&str], all: usize) -> Vec<String> {
    if schedules.len() == all {
        Vec::new()
    } else {
        schedules.iter().map(|name| (*name).to_owned()).collect()
    }
}

fn dib(settings: &Settings, broken: Option<&str>) -> Finding {
    let program = settings.dib.display();
    let wrong = match (is_executable(&settings.dib), broken) {
        (true, None) => return Finding::good(format!("disk-image-builder ({program})")),
        (true, Some(why)) => format!("{program}: {why}"),
        (false, _) => format!("disk-image-create is neither on PATH nor at {program}"),
    };
    Finding::bad(
        "disk-image-builder",
        wrong,
        "python3 -m venv /opt/image-manager/dib && /opt/image-manager/dib/bin/pip install diskimage-builder setuptools",
    )
}

fn root() -> Finding {
    if nix::unistd::geteuid().is_root() {
        return Finding::good("runs as root, as disk-image-builder needs");
    }
    Finding::bad(
        "root",
        "disk-image-builder mounts file systems and uses loop devices",
        "run image-manager as root",
    )
}

fn room(settings: &Settings) -> Finding {
    // The nearest directory that is there: the state directory may not be made yet.
    let there = settings.scratch.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    match check_room(there, settings.room) {
        Ok(()) => Finding::good(format!("room to build in {}", there.display())),
        Err(error) => {
            let mend = "free some space, or name another place with --scratch and --state";
            Finding::bad("room", error.to_string(), mend)
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::gateway::GatewaySettings;
    use crate::schedules::parse;

    pub(in crate::readiness) fn settings() -> Settings {
        let nowhere = Path::new("/nowhere");
        Settings {
            state: nowhere.to_owned(),
            scratch: nowhere.to_owned(),
            dib: nowhere.join("disk-image-create"),
            elements: vec![nowhere.join("elements")],
            shipped: Vec::new(),
            control_image: None,
            private: Vec::new(),
            agent: nowhere.join("agent"),
            concurrent_builds: 1,
            concurrent_trials: 1,
            gateway: GatewaySettings::default(),
            reattach: Duration::ZERO,
            agent_endpoint: None,
            room: 0,
        }
    }

    fn asked_for(text: &str, expanded: &[&str]) -> String {
        let schedules = parse(Path::new("schedules.toml"), text).unwrap();
        let mut definition = Definition::default();
        if !expanded.is_empty() {
            definition
                .elements
                .insert("a".to_owned(), expanded.iter().map(|name| (*name).to_owned()).collect());
        }
        let settings = settings();
        let findings = findings(&schedules, &definition, &settings, &|_| true);
        format!("{findings:?}")
    }

    #[test]
    fn only_what_the_schedules_need_is_looked_at() {
        let local = "[schedule.a]\nimage.elements = [\"x\"]\n";
        let far = "[schedule.a]\nimage.elements = [\"x\"]\ncloud = \"c\"\nserver.flavor = \"f\"\n";
        assert!(asked_for(local, &[]).contains("qemu-system-x86_64"));
        assert!(!asked_for(far, &[]).contains("qemu-system-x86_64"));
        for (element, program) in
            [("containerfile", "podman"), ("yum-minimal", "dnf"), ("zypper-minimal", "zypper")]
        {
            assert!(asked_for(local, &["x", element]).contains(program), "{element}");
            assert!(!asked_for(local, &["x"]).contains(program), "{element}");
        }
        let named = "[schedule.a]\nimage.elements = [\"opensuse-minimal\"]\n";
        assert!(asked_for(named, &[]).contains("zypper"), "without a resolver the names themselves count");
    }

    #[test]
    fn a_machine_that_is_asked_for_needs_its_own_programs() {
        let uefi = "[schedule.a]\nimage = { elements = [\"x\"], arch = \"amd64\" }\nserver.firmware = \"uefi-secure\"\n";
        let said = asked_for(uefi, &[]);
        assert!(said.contains("OVMF_CODE_4M.secboot.fd") && !said.contains("qemu-system-aarch64"), "{said}");
        let arm = "[schedule.a]\nimage = { elements = [\"x\"], arch = \"arm64\" }\n";
        let said = asked_for(arm, &[]);
        for piece in ["qemu-system-aarch64", "AAVMF_CODE.fd", "agent binary", "make agent"] {
            assert!(said.contains(piece), "{piece}: {said}");
        }
        if cfg!(target_arch = "x86_64") {
            assert!(
                said.contains("programs for arm64 on this host") && !said.contains("qemu-system-x86_64"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_need_names_the_schedules_that_have_it() {
        let text = "[schedule.a]\nimage.elements = [\"yum-minimal\"]\n[schedule.b]\nimage.elements = [\"yum-minimal\"]\n\
                    [schedule.c]\nimage.elements = [\"zypper-minimal\"]\n";
        let schedules = parse(Path::new("schedules.toml"), text).unwrap();
        let needed: Vec<&Schedule> = schedules.schedules.iter().collect();
        let found = of_schedules(&needed, &Definition::default());
        let of = |name: &str| {
            let finding = found.iter().find(|finding| finding.what.starts_with(name));
            finding.map(|finding| finding.schedules.clone())
        };
        assert_eq!(of("dnf").unwrap(), ["a", "b"]);
        assert_eq!(of("zypper").unwrap(), ["c"]);
        let alone = of_schedules(&needed[2..], &Definition::default());
        assert!(alone.iter().all(|finding| finding.schedules.is_empty()), "everybody: {alone:?}");
    }

    #[test]
    fn what_is_not_there_names_the_command_that_mends_it() {
        let said = asked_for("[schedule.a]\nimage.elements = [\"x\"]\n", &[]);
        for piece in ["pip install diskimage-builder", "make agent", "--elements"] {
            assert!(said.contains(piece), "{said}");
        }
    }
}
