//! The sections of a log: the phases of disk-image-builder in that of a build, the stages of a boot in a console. Pure.
//!
//! What disk-image-builder says in between belongs to the phase before: also what it takes away again after a hook that
//! failed.

use std::time::Duration;

use image_manager_proto::counted;

use super::figures;
use super::log_file::Log;
use super::log_line::{LINE, is_bad, stamped};
use super::log_stages::{Boot, Step};
use crate::builder::Phase;
use crate::checks::console::kernel_time;
use crate::untrusted::log_file::plain_line;

/// Most sections of a log: a server may start again and again.
const MOST: usize = 200;
/// What disk-image-builder says first.
const PREPARATION: [&str; 2] = ["diskimage-builder version ", "Building elements: "];

/// A section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) name: String,
    /// The number of its first line, from 1.
    pub(super) first: usize,
    /// Where the last of its lines is that speaks of an error: its number, and its first byte. Of consoles only.
    pub(super) bad: Option<(usize, u64)>,
    /// It is of what comes after disk-image-builder, which has failed before.
    after: bool,
    /// The first and the last time that its lines tell.
    times: Option<(Duration, Duration)>,
    /// Boots before it: each has a clock of its own.
    boots: usize,
}

/// A part of a build's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Before,
    Preparation,
    In(Phase),
    After,
}

/// A log's sections, as far as it has been read.
#[derive(Debug)]
pub(super) struct Sections {
    log: Log,
    /// How much of it was not read.
    skipped: usize,
    list: Vec<Section>,
    place: Option<Place>,
    boot: Boot,
    /// The line that may have begun a section: its number and time.
    perhaps: (usize, Option<Duration>),
}

impl Sections {
    /// Of a log that is read from its beginning, or from behind so many lines.
    pub(super) fn new(log: Log, skipped: usize) -> Self {
        let mut new =
            Self { log, skipped, list: Vec::new(), place: None, boot: Boot::default(), perhaps: (0, None) };
        if skipped > 0 && log != Log::Agent {
            new.begin("earlier lines".to_owned(), 1, None);
        }
        new
    }

    /// How many lines before the first that was read.
    pub(super) fn skipped(&self) -> usize {
        self.skipped
    }

    /// In their order; none of a log that has no lines, and of what the agent said.
    pub(super) fn list(&self) -> &[Section] {
        &self.list
    }

    /// Which of them a line is in.
    pub(super) fn of(&self, number: usize) -> usize {
        self.list.partition_point(|section| section.first <= number).saturating_sub(1)
    }

    /// The number of the line after a section, where the log has so many lines.
    pub(super) fn next(&self, index: usize, lines: usize) -> usize {
        self.list.get(index + 1).map_or(lines + 1, |next| next.first)
    }

    /// How much is in a section and how long it took: "1204 lines · 28 s".
    pub(super) fn told(&self, index: usize, lines: usize) -> String {
        let Some(section) = self.list.get(index) else { return String::new() };
        let count = counted(self.next(index, lines).saturating_sub(section.first), "line");
        match self.took(index, section) {
            Some(took) => format!("{count} · {}", figures::took(took)),
            None => count,
        }
    }

    /// From a section's first line to the next that tells a time of the same clock, or to its own last one.
    fn took(&self, index: usize, section: &Section) -> Option<Duration> {
        let (first, last) = section.times.filter(|_| section.first > self.skipped)?;
        let following = self.list.iter().skip(index + 1);
        let mut following = following.take_while(|next| next.boots == section.boots);
        let end = following.find_map(|next| next.times).map(|(begin, _)| begin);
        end.or((last > first).then_some(last))?.checked_sub(first)
    }

    /// The section in which a build failed, if the failure is told in this log. It is not told otherwise than by what
    /// comes last of disk-image-builder, and by what looks like an error on a console.
    pub(super) fn failing(&self) -> Option<usize> {
        match self.log {
            Log::Build => self.list.iter().rposition(|section| !section.after),
            Log::Console => self.list.iter().rposition(|section| section.bad.is_some()),
            Log::Agent => None,
        }
    }

    /// Takes in the next line, which begins at this byte of the log.
    pub(super) fn line(&mut self, number: usize, offset: u64, bytes: &[u8]) {
        if self.log == Log::Agent {
            return;
        }
        let text = plain_line(&String::from_utf8_lossy(bytes.get(..LINE).unwrap_or(bytes)));
        let time = match self.log {
            Log::Console => {
                self.of_a_boot(number, &text);
                kernel_time(&text)
            }
            _ => self.of_a_build(number, &text),
        };
        let bad = self.log == Log::Console && is_bad(&text);
        let Some(section) = self.list.last_mut() else { return };
        if let Some(time) = time {
            let first = section.times.map_or(time, |(first, _)| first);
            section.times = Some((first, time));
        }
        if bad {
            section.bad = Some((number, offset));
        }
    }

    fn of_a_build(&mut self, number: usize, text: &str) -> Option<Duration> {
        let (time, said) = match stamped(text) {
            Some((time, said)) => (Some(time), said),
            None => (None, text),
        };
        let next = match said.strip_prefix("contain: ") {
            Some("stopped on request") => Some(Place::After),
            Some(_) => self.list.is_empty().then_some(Place::Before),
            None if PREPARATION.iter().any(|sign| said.starts_with(sign)) => Some(Place::Preparation),
            None => Phase::told_by(said).map(Place::In),
        };
        let next = next.or_else(|| self.list.is_empty().then_some(Place::Preparation));
        if let Some(place) = next.filter(|next| Some(*next) > self.place) {
            self.place = Some(place);
            let name = match place {
                Place::Before => "before disk-image-builder",
                Place::Preparation => "preparation",
                Place::In(phase) => phase.name(),
                Place::After => "after disk-image-builder",
            };
            self.begin(name.to_owned(), number, None);
        }
        time
    }

    fn of_a_boot(&mut self, number: usize, text: &str) {
        let (stage, (first, time)) = match self.boot.line(text) {
            Step::None => return,
            Step::Perhaps => {
                self.perhaps = (number, kernel_time(text));
                return;
            }
            Step::Here(stage) => (stage, (number, None)),
            Step::There(stage) => (stage, self.perhaps),
        };
        let name = match self.boot.before() {
            0 => stage.name().to_owned(),
            before => format!("{} (boot {})", stage.name(), before + 1),
        };
        self.begin(name, first, time);
    }

    /// A section begins with a line; what came before the first is in it, too.
    fn begin(&mut self, name: String, first: usize, time: Option<Duration>) {
        if self.list.len() >= MOST {
            return;
        }
        let first = if self.list.is_empty() { 1 } else { first };
        self.list.push(Section {
            name,
            first,
            bad: None,
            after: self.place == Some(Place::After),
            times: time.map(|time| (time, time)),
            boots: self.boot.before(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(log: Log, text: &str) -> (Sections, usize) {
        let mut sections = Sections::new(log, 0);
        let mut offset = 0;
        for (number, line) in (1..).zip(text.split_inclusive('\n')) {
            sections.line(number, offset, line.as_bytes());
            offset += line.len() as u64;
        }
        (sections, text.lines().count())
    }

    fn told((sections, lines): &(Sections, usize)) -> Vec<String> {
        let each = sections.list().iter().enumerate();
        each.map(|(index, section)| {
            format!("{}: {} from {}", section.name, sections.told(index, *lines), section.first)
        })
        .collect()
    }

    #[test]
    fn a_real_build_has_the_phases_with_their_lines_and_times() {
        let success = include_str!("../../builder/fixtures/success.log");
        let read = read(Log::Build, success);
        let names: Vec<_> = read.0.list().iter().map(|section| section.name.as_str()).collect();
        let expected = [
            "before disk-image-builder",
            "preparation",
            "root",
            "extra-data",
            "pre-install",
            "install",
            "post-install",
            "block-device",
            "mkfs and copy",
            "finalise",
            "cleanup",
            "convert",
        ];
        assert_eq!(names, expected);
        let (sections, lines) = &read;
        let each = (0..names.len()).map(|index| sections.next(index, *lines) - sections.list()[index].first);
        assert_eq!(each.sum::<usize>(), success.lines().count());
        assert!(told(&read)[5].contains(" lines · 28 s"), "{:?}", told(&read));
        assert_eq!(
            told(&read)[11].split(": ").nth(1).unwrap().split(" from").next(),
            Some("3 lines · 4.5 s")
        );
        assert_eq!(sections.list()[sections.of(lines - 2)].name, "convert");
    }

    #[test]
    fn a_failed_hook_is_in_the_last_section_that_is_of_disk_image_builder() {
        let failed = include_str!("../../builder/fixtures/fail-hook.log");
        let stopped = format!("{failed}2026-11-23 09:10:13.000 | contain: stopped on request\n");
        for (log, last) in [(failed, "install"), (&stopped, "after disk-image-builder")] {
            let (sections, _) = read(Log::Build, log);
            assert_eq!(sections.list()[sections.failing().unwrap()].name, "install");
            assert_eq!(sections.list().last().unwrap().name, last);
        }
    }

    #[test]
    fn a_console_is_folded_by_stage_and_the_stage_that_complains_is_known() {
        let console = "SeaBIOS (version 1.16)\n[    0.000000] Linux version 6.1\n[    1.500000] x\n\
                       [    2.000000] systemd[1]: systemd 252 running in system mode (+PAM)\n\
                       [    2.100000] systemd[1]: Hostname set to <a>.\n[FAILED] Failed to start b.service.\n\
                       [    9.500000] cloud-init[1]: Cloud-init v. 24.1 running 'init' at Mon.\nserver login: \n\
                       SeaBIOS (version 1.16)\n[    0.000000] Linux version 6.1\n";
        let read = read(Log::Console, console);
        let expected = [
            "firmware and boot loader: 1 line from 1",
            "kernel: 2 lines · 2.0 s from 2",
            "userspace: 3 lines · 7.5 s from 4",
            "cloud-init init: 1 line from 7",
            "login prompt: 1 line from 8",
            "firmware and boot loader (boot 2): 1 line from 9",
            "kernel (boot 2): 1 line from 10",
        ];
        assert_eq!(told(&read), expected);
        let (sections, _) = &read;
        assert_eq!(sections.failing(), Some(2));
        let offset = console.find("[FAILED]").unwrap() as u64;
        assert_eq!(sections.list()[2].bad, Some((6, offset)));
    }

    #[test]
    fn what_has_no_sections_and_what_was_not_read_is_said_so() {
        assert!(read(Log::Agent, "{\"event\":\"attached\"}\n").0.list().is_empty());
        assert!(read(Log::Build, "").0.list().is_empty());
        let mut sections = Sections::new(Log::Build, 100);
        sections.line(101, 5000, b"2026-11-23 08:40:00.000 | somewhere");
        sections.line(102, 5040, b"2026-11-23 08:40:01.000 | Running hooks from /x/cleanup.d");
        sections.line(103, 5080, b"2026-11-23 08:40:01.500 | dib-run-parts 01-x completed");
        let expected = ["earlier lines: 101 lines from 1", "cleanup: 2 lines · 0.5 s from 102"];
        assert_eq!(told(&(sections, 103)), expected);
    }

    #[test]
    fn a_server_that_starts_for_ever_has_so_many_sections() {
        let (sections, _) = read(Log::Console, &"SeaBIOS (\n[    2.000000] x\n".repeat(MOST));
        assert_eq!(sections.list().len(), MOST);
    }
}
