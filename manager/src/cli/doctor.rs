//! `image-manager doctor`: what this host lacks, each with the command that mends it.

use std::path::Path;

use super::Exit;
use super::arguments::DoctorArguments;
use super::instance::settings;
use super::text::{self, Screen, Style, line};
use crate::lifecycle::Settings;
use crate::programs::{find, is_executable};
use crate::schedules;

/// One thing that was looked at.
struct Finding {
    what: String,
    trouble: Option<Mending>,
}

/// What is wrong and what mends it.
struct Mending {
    wrong: String,
    mend: String,
}

/// A program, what it is for, and the Debian package that has it.
const PROGRAMS: [(&str, &str, &str); 10] = [
    ("qemu-system-x86_64", "boots images on the local cloud", "qemu-system-x86"),
    ("qemu-img", "makes and converts disks", "qemu-utils"),
    ("debootstrap", "makes a Debian root for disk-image-builder", "debootstrap"),
    ("sudo", "disk-image-builder calls it, even as root", "sudo"),
    ("sgdisk", "partitions images", "gdisk"),
    ("sfdisk", "partitions images", "fdisk"),
    ("mkfs.ext4", "makes file systems", "e2fsprogs"),
    ("kpartx", "maps partitions", "kpartx"),
    ("losetup", "attaches images as loop devices", "mount"),
    ("unshare", "contains disk-image-builder", "util-linux"),
];

pub(crate) fn run(arguments: &DoctorArguments) -> Exit {
    let state = std::path::absolute(&arguments.host.state.state)
        .unwrap_or_else(|_| arguments.host.state.state.clone());
    let settings = settings(&arguments.host, &state, 1);
    let mut findings: Vec<Finding> =
        PROGRAMS.iter().map(|(program, purpose, package)| on_path(program, purpose, package)).collect();
    findings.push(dib(&settings));
    findings.push(agent(&settings));
    findings.extend(settings.elements.iter().map(|path| elements(path)));
    findings.push(root());
    findings.push(room(&settings));
    findings.push(schedules_file(&arguments.host.schedules.schedules));
    let style = Style::of_stdout();
    let lacking = findings.iter().filter(|finding| finding.trouble.is_some()).count();
    let mut out = Screen::default();
    for finding in &findings {
        write(&mut out, finding, style);
    }
    line!(out, "  ", style.dim("i"), " ", accelerator());
    out.blank();
    if lacking == 0 {
        line!(out, "nothing is missing: `image-manager run SCHEDULE` can build");
    } else {
        line!(
            out,
            format_args!(
                "{lacking} of {} are missing; in a checkout, `setup/install build` mends all that can be installed",
                findings.len()
            )
        );
    }
    text::print(&out);
    if lacking == 0 { Exit::Done } else { Exit::Errored }
}

fn write(out: &mut Screen, finding: &Finding, style: Style) {
    use image_manager_proto::v1::CheckOutcome;
    match &finding.trouble {
        None => line!(out, "  ", style.outcome_mark(CheckOutcome::Pass), " ", finding.what),
        Some(trouble) => {
            let mark = style.outcome_mark(CheckOutcome::Fail);
            line!(out, "  ", mark, format_args!(" {}: {}", finding.what, trouble.wrong));
            line!(out, "      mend it with: ", style.bold(&trouble.mend));
        }
    }
}

fn good(what: String) -> Finding {
    Finding { what, trouble: None }
}

fn bad(what: impl Into<String>, wrong: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding { what: what.into(), trouble: Some(Mending { wrong: wrong.into(), mend: mend.into() }) }
}

fn on_path(program: &str, purpose: &str, package: &str) -> Finding {
    match find(program) {
        Some(path) => good(format!("{program} ({})", path.display())),
        None => bad(
            program,
            format!("not found; it {purpose}"),
            format!("apt-get install --no-install-recommends {package}"),
        ),
    }
}

fn dib(settings: &Settings) -> Finding {
    if is_executable(&settings.dib) {
        return good(format!("disk-image-builder ({})", settings.dib.display()));
    }
    bad(
        "disk-image-builder",
        format!("no disk-image-create on PATH, nor {}", settings.dib.display()),
        "python3 -m venv /opt/image-manager/dib && /opt/image-manager/dib/bin/pip install diskimage-builder setuptools",
    )
}

fn agent(settings: &Settings) -> Finding {
    if is_executable(&settings.agent) {
        return good(format!("agent binary ({})", settings.agent.display()));
    }
    bad("agent binary", format!("not at {}", settings.agent.display()), "make agent, or name it with --agent")
}

fn elements(path: &Path) -> Finding {
    if path.join("agent-install").is_dir() {
        return good(format!("elements ({})", path.display()));
    }
    bad(
        "elements",
        format!("no agent-install in {}", path.display()),
        "name the directory with --elements, or IMAGE_MANAGER_ELEMENTS",
    )
}

fn root() -> Finding {
    if nix::unistd::geteuid().is_root() {
        return good("runs as root, as disk-image-builder needs".to_owned());
    }
    bad("root", "disk-image-builder mounts and uses loop devices", "run image-manager as root")
}

fn room(settings: &Settings) -> Finding {
    // The nearest directory that is there: the state directory may not be made yet.
    let there = settings.scratch.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    match crate::builder::check_room(there, settings.room) {
        Ok(()) => good(format!("room to build in {}", there.display())),
        Err(error) => {
            bad("room", error.to_string(), "free some, or name another place with --scratch and --state")
        }
    }
}

fn schedules_file(path: &Path) -> Finding {
    match schedules::load(path) {
        Ok(found) => good(format!("{} ({} schedules)", path.display(), found.schedules.len())),
        Err(_) => bad(
            path.display().to_string(),
            "cannot be used",
            format!("image-manager check {}", path.display()),
        ),
    }
}

fn accelerator() -> String {
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let hardware = flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm");
    if hardware && Path::new("/dev/kvm").exists() {
        "the local cloud boots with KVM".to_owned()
    } else {
        "no usable KVM: the local cloud emulates, a boot takes a minute or two".to_owned()
    }
}
