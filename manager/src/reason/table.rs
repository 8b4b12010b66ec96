//! Every reason there is: its variant and word, what happened, and what to do next.
//!
//! The words are a contract and stay; the sentences are for people. `docs/exit-codes.md` repeats them, and a test says
//! when it does not (`make docs` writes it anew). Text in backquotes is code wherever it is shown.

use super::Section;

macro_rules! reasons {
    ($($section:ident { $($name:ident = $word:literal, $happened:literal, $hint:literal;)+ })+) => {
        /// Why a build did not pass. What a variant means is the sentence that people read.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[doc = $happened] $name,)+)+
        }

        impl Reason {
            /// All of them, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$($(Self::$name,)+)+];

            /// The word that the history, the interfaces and scripts have for it.
            pub const fn word(self) -> &'static str {
                match self { $($(Self::$name => $word,)+)+ }
            }

            /// Where it belongs, and with that the verdict it means.
            pub fn section(self) -> Section {
                match self { $($(Self::$name)|+ => Section::$section,)+ }
            }

            /// What happened: a sentence.
            pub fn sentence(self) -> &'static str {
                match self { $($(Self::$name => $happened,)+)+ }
            }

            /// What to do next: one or two sentences; empty where there is nothing to do.
            pub fn hint(self) -> &'static str {
                match self { $($(Self::$name => $hint,)+)+ }
            }
        }
    };
}

reasons! {
    Image {
        CheckFailed = "check_failed",
            "A required check failed.",
            "See in the evidence what the check observed, and fix the image's definition.";
        AgentNotRemoved = "agent_not_removed",
            "The agent did not remove all of itself from the server, or did not report each of its paths as removed \
             or absent.",
            "Look at the paths in the evidence: something in the image, such as a read-only file system, keeps them \
             from being removed.";
        ImageAtFault = "image_at_fault",
            "The image ended twice in the same way without reporting, and another image that was booted on the same \
             target in between worked.",
            "See in the evidence how it ended and what the other image was; a kernel panic or an agent that never \
             started shows in the console.";
        DibHookFailed = "dib_hook_failed",
            "A script of an element failed.",
            "Fix the script that the message names; `image-manager logs BUILD` has all of its output.";
        DibReleaseUnknown = "dib_release_unknown",
            "The mirror does not have the release, or debootstrap does not know it.",
            "Check `DIB_RELEASE` and the mirror's address in `image.environment`.";
        DibPackageMissing = "dib_package_missing",
            "A package does not exist.",
            "Check its name, and that the image has the repository that it comes from; the message says which element \
             asked for it.";
        DibElementUnknown = "dib_element_unknown",
            "An element does not exist.",
            "Check the names in `image.elements`, and the directories in `image.elements_path` and `--elements`.";
        DibOsMissing = "dib_os_missing",
            "No element provides an operating system.",
            "Add one that does to `image.elements`, such as `debian-minimal`.";
        DibElementConflict = "dib_element_conflict",
            "Two elements provide the same thing, such as an operating system.",
            "Remove one of the two from `image.elements`.";
    }
    Host {
        DibMissing = "dib_missing",
            "A program or a key that the build needs is not installed on this host.",
            "Install it as the message says, or with `setup/install build` (of the package: \
             `/usr/share/image-manager/setup/install build`). `image-manager doctor` lists what is missing.";
        DibHookUnexplained = "dib_hook_unexplained",
            "A script of an element failed for no known cause, though nothing in the definition has changed since a build \
             passed.",
            "The build is repeated once automatically, and only the same failure again is the image's fault. A \
             different one points to the host, a mirror or the network.";
        DibFailed = "dib_failed",
            "disk-image-builder failed for a reason that is not the image's fault.",
            "Read the end of `image-manager logs BUILD`. If something was killed, the host may have too little \
             memory.";
        DibFormatUnknown = "dib_format_unknown",
            "qemu-img does not know the image's format.",
            "Install a newer `qemu-utils`.";
        DeviceMapperMissing = "device_mapper_missing",
            "kpartx found no device-mapper, and no stand-in took its place.",
            "Load the kernel module `dm_mod`.";
        InputUnusable = "input_unusable",
            "A key, file or secret that the schedule names is missing, too large, empty, or accessible to others.",
            "Fix the file that the message names; `chmod go= FILE` denies others access.";
        AgentMissing = "agent_missing",
            "There is no agent to put into the image.",
            "Build it with `make agent`, or for another architecture with `make agent ARCH=aarch64` (or `x86_64`), or \
             name it with `--agent`.";
        AgentOfAnotherMachine = "agent_of_another_machine",
            "The available agent would not run in the image: it is for another architecture than `image.arch`.",
            "Build one that does with `make agent ARCH=aarch64` (or `x86_64`), or name it with `--agent`.";
        MirrorUnreachable = "mirror_unreachable",
            "A package mirror, or another place that a script downloads from, could not be reached or did not deliver.",
            "Try again. If it happens again, look at the address in the message, or use another mirror.";
        MirrorInconsistent = "mirror_inconsistent",
            "A download does not have the size or checksum that was announced.",
            "Try again: a mirror may be in the middle of a sync. If it happens again, remove the damaged copy from the state \
             directory's `cache`.";
        RateLimited = "rate_limited",
            "A registry, a mirror or another place answered 429: too many requests from this host.",
            "Wait, log in there, or use a mirror of your own.";
        ClockDiffers = "clock_differs",
            "By this host's clock, a Release file or a certificate is not valid yet, or has expired.",
            "Check the clock with `timedatectl`. If it is right, whoever publishes the file is late: wait, or use \
             another mirror.";
        ScratchFull = "scratch_full",
            "There was no room to build.",
            "Make room where the message says, or let builds work on another disk with `--scratch` or `--state`.";
        ImageDamaged = "image_damaged",
            "Packaged files in the finished image are blank, missing or differ from their checksums, or its package \
             database cannot be read.",
            "Look at the names in the evidence, and check this host's disk.";
        BuildTimeout = "build_timeout",
            "The build took longer than `timeouts.build`, or printed nothing for too long.",
            "See in `image-manager logs BUILD` what it was waiting for, or raise `timeouts.build`.";
        BuildLog = "build_log",
            "The build log cannot be written, or is too long.",
            "Make room on the state directory's disk. If the log is too long, make the script that fills it print \
             less.";
        State = "state",
            "A file or directory of the build cannot be made or read.",
            "Check the permissions and the free space of `--state` and `--scratch`.";
        History = "history",
            "The history cannot be written or read.",
            "Check the free space and the disk of `--state`; the message is SQLite's.";
        Randomness = "randomness",
            "This host gives no random bytes.",
            "Check the host's kernel: `head -c 1 /dev/urandom` must work.";
        ImageCorrupt = "image_corrupt",
            "The image file is damaged or incomplete, or the cloud has a different one from the one that was built.",
            "Build it again. If it happens again, check the disks of this host and of the image service.";
    }
    Server {
        AgentSilent = "agent_silent",
            "No agent attached within `timeouts.boot`.",
            "See at the end of the console, in the evidence, whether the agent started (the element `agent-install`) \
             and what keeps it from the gateway, such as security groups.";
        AgentLost = "agent_lost",
            "An agent attached, but was gone before it had finished.",
            "Read the end of `image-manager logs BUILD --console` and of `image-manager logs BUILD --agent`.";
        AgentContested = "agent_contested",
            "A second agent connected with the server's token, or one connected from an address that is not the \
             server's.",
            "Find out who the two in the evidence are; neither is believed. A server that rebooted looks the same.";
        WrongImage = "wrong_image",
            "The agent in the server is from another build.",
            "Find out in the cloud which image the server was booted from.";
        ServerStopped = "server_stopped",
            "The server stopped by itself.",
            "Look for a kernel panic or a shutdown in the console, which is in the evidence.";
        ServerFault = "server_fault",
            "The cloud could not run the server.",
            "Try again. If it happens again, show the cloud's operators the fault in the message.";
        ServerMissing = "server_missing",
            "Somebody deleted the server while it was in use.",
            "Find out who or what deletes servers there.";
        CheckInconclusive = "check_inconclusive",
            "A required check gave no answer, the report did not have exactly one result for each check, or a network \
             check fails from the manager's host too.",
            "Read what the checks observed. If the network is at fault, fix that of the manager's host first.";
        VerifyTimeout = "verify_timeout",
            "The agent had not finished within `timeouts.verify`, and no required check had failed by then.",
            "See in `image-manager logs BUILD --agent` which check took so long, or raise `timeouts.verify`.";
        Gateway = "gateway",
            "The manager's gateway, which agents dial, closed.",
            "Read the manager's log, and try again.";
    }
    Cloud {
        CloudConfiguration = "cloud_configuration",
            "The cloud cannot be used as the schedule or `clouds.yaml` says.",
            "Change what the message names; `image-manager doctor --cloud NAME` tries it without a build.";
        CloudUnavailable = "cloud_unavailable",
            "The cloud does not answer, or answers with errors.",
            "Try again later, or give the schedule `retry`; `image-manager doctor --cloud NAME` says whether it answers.";
        CloudNoRoom = "cloud_no_room",
            "The quota is used up, or no host has room.",
            "Make room or raise the quota; `image-manager doctor --cloud NAME` says whether one more server fits.";
        CloudFault = "cloud_fault",
            "The cloud accepted a request and failed to carry it out.",
            "Try again. If it happens again, show the cloud's operators the message.";
        CloudTimeout = "cloud_timeout",
            "An operation of the cloud took too long.",
            "Try again. If it happens again, look at the cloud's load.";
        CloudAtFault = "cloud_at_fault",
            "The image ended without reporting, and so did another one that was then booted on the same target.",
            "Show the cloud's operators the evidence of both. A server without a network, or one that cannot reach \
             the gateway, looks the same.";
        BootTimeout = "boot_timeout",
            "The cloud had not started the server within `timeouts.boot`.",
            "Look at the cloud's scheduler and load, or raise `timeouts.boot`.";
        UploadTimeout = "upload_timeout",
            "The upload took longer than `timeouts.upload`.",
            "Look at the network to the image service, or raise `timeouts.upload`.";
        PublishTimeout = "publish_timeout",
            "Publishing took too long.",
            "Find out in the cloud which image has the name now.";
        PublishFailed = "publish_failed",
            "Publishing did not complete.",
            "Find out in the cloud which image has the name now, and read the manager's log.";
        ImageUnavailable = "image_unavailable",
            "The published image that was to be verified again is gone from the cloud, was replaced by hand, or is deactivated.",
            "Find out who removed or changed it. `image-manager rollback NAME` gives the name to an older image; a build makes a new one.";
        ImageReplaced = "image_replaced",
            "The image that was to be verified again had lost its name before it was booted.",
            "See in `image-manager images` which image has the name now; `image-manager verify SCHEDULE` verifies that one.";
    }
    Manager {
        TotalTimeout = "total_timeout",
            "The build took longer than `timeouts.total`.",
            "See which of its stages took the time, or raise `timeouts.total`.";
        Interrupted = "interrupted",
            "The manager was stopped or killed during the build, and the next one could not resume it; everything was \
             cleaned up.",
            "Trigger it again, or give the schedule `retry`.";
    }
    Ended {
        Cancelled = "cancelled",
            "Somebody cancelled the build.",
            "";
        ScheduleRemoved = "schedule_removed",
            "The schedule was removed from `schedules.toml` while the build was waiting.",
            "Put the schedule back into the file if it should still be built.";
    }
}
