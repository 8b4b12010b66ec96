//! The lines of a log on a page: in sections that fold, each with its number, which leads to it.
//!
//! `assets/app.js` makes the same of lines that arrive later.

use image_manager_proto::v1;
use maud::{Markup, html};

use super::log::address;
use super::log_file::{Log, LogFile, Outline, Part, Reach};
use super::log_line::Line;

/// What a page shows of a whole log.
#[derive(Debug)]
pub(super) struct Shown {
    outline: Outline,
    /// In their order.
    parts: Vec<Part>,
    /// The line that was asked for.
    wanted: usize,
    /// The section in which the build failed.
    failing: Option<usize>,
    /// Sections that are open at first.
    open: Vec<usize>,
}

/// What is to be shown of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// The number of a line; none is 0.
    pub(super) line: usize,
    /// All sections are to be open.
    pub(super) all: bool,
    /// The build has ended, and nothing more comes.
    pub(super) ended: bool,
    /// The log may tell of the failure.
    pub(super) failed: bool,
}

/// Whose log it is, for links.
pub(super) struct Whose<'a> {
    pub(super) build: &'a v1::Build,
    pub(super) log: Log,
    pub(super) target: Option<&'a str>,
}

impl Whose<'_> {
    /// The address of the page that shows a line, without the line's number.
    pub(super) fn lines(&self) -> String {
        address(&self.build.id, self.log, self.target, "&line=")
    }

    fn line(&self, number: usize) -> String {
        format!("{}{number}#L{number}", self.lines())
    }
}

impl Shown {
    /// Reads what is wanted: what is around a line; else the end, and what is around the error by which a build failed.
    pub(super) fn read(file: &LogFile, wanted: Wanted) -> std::io::Result<Self> {
        let reach = Reach { until: u64::MAX, ended: wanted.ended, wanted: wanted.line };
        let outline = file.outline(reach)?;
        let sections = &outline.sections;
        let failing = sections.failing().filter(|_| wanted.failed);
        let last = sections.list().len().saturating_sub(1);
        let mut parts = Vec::new();
        let mut open: Vec<usize> = if let Some(offset) = outline.wanted {
            parts.push(file.around(&outline, (offset, wanted.line))?);
            vec![sections.of(wanted.line)]
        } else {
            let error = failing.and_then(|index| sections.list().get(index)?.bad);
            if let Some((number, offset)) = error {
                parts.extend(file.aside(&outline, (offset, number))?);
            }
            parts.push(file.end(&outline)?);
            // What is still written is followed at its end.
            failing.into_iter().chain((failing.is_none() || !wanted.ended).then_some(last)).collect()
        };
        open.dedup();
        if wanted.all {
            open = (0..=last).collect();
        }
        Ok(Self { outline, parts, wanted: wanted.line, failing, open })
    }

    /// Whether it shows the end, after which more may come; and where that is, in bytes.
    pub(super) fn end(&self) -> Option<u64> {
        self.line().is_none().then_some(self.outline.end)
    }

    /// The line that was asked for, if there is such a line.
    pub(super) fn line(&self) -> Option<usize> {
        self.outline.wanted.map(|_| self.wanted)
    }

    /// The line that was asked for, if there is no such line.
    pub(super) fn missing(&self) -> Option<usize> {
        Some(self.wanted).filter(|wanted| *wanted > 0 && self.outline.wanted.is_none())
    }

    /// How many lines the log has.
    pub(super) fn count(&self) -> usize {
        self.outline.lines
    }

    /// Whether there is a section that is not open.
    pub(super) fn is_folded(&self) -> bool {
        self.open.len() < self.outline.sections.list().len()
    }

    /// The sections, or the lines alone of a log that has none.
    pub(super) fn render(&self, whose: &Whose<'_>) -> Markup {
        let sections = &self.outline.sections;
        html! {
            @if sections.list().is_empty() { (self.lines(whose, 1, self.outline.lines + 1)) }
            @for (index, section) in sections.list().iter().enumerate() {
                details.part id={ "part-" (section.first) } open[self.open.contains(&index)]
                    data-failing[self.failing == Some(index)] {
                    summary {
                        h3 { (section.name) }
                        span.told { (sections.told(index, self.outline.lines)) }
                    }
                    (self.lines(whose, section.first, sections.next(index, self.outline.lines)))
                }
            }
        }
    }

    /// The lines from one number up to another, as far as they have been read.
    fn lines(&self, whose: &Whose<'_>, first: usize, next: usize) -> Markup {
        let mut shown = Vec::new();
        let mut from = first;
        for part in &self.parts {
            let (begin, end) = (part.first.max(from), part.next.min(next));
            if begin < end {
                let lines = part.lines.iter().filter(move |line| (begin..end).contains(&line.number));
                shown.push((from, begin, lines));
                from = end;
            }
        }
        html! {
            @for (from, begin, lines) in shown {
                (gap(whose, from, begin, begin.saturating_sub(1)))
                pre { @for line in lines { (self.shown(whose, line)) } }
            }
            (gap(whose, from, next, from))
        }
    }

    fn shown(&self, whose: &Whose<'_>, line: &Line) -> Markup {
        let wanted = self.line() == Some(line.number);
        html! {
            span.line.bad[line.bad] id={ "L" (line.number) } aria-current=[wanted.then_some("true")] {
                (said(whose, line))
            }
        }
    }
}

/// Lines that a search found: each leads to its place in the whole log.
pub(super) fn found(whose: &Whose<'_>, lines: &[Line]) -> Markup {
    html! {
        @if !lines.is_empty() {
            pre { @for line in lines { span.line.bad[line.bad] { (said(whose, line)) } } }
        }
    }
}

fn said(whose: &Whose<'_>, line: &Line) -> Markup {
    html! {
        a.no href=(whose.line(line.number)) { (line.number) }
        @if !line.at.is_empty() { span.at { (line.at) } }
        (line.text) "\n"
    }
}

/// Lines that are not on the page, with a link to some of them.
fn gap(whose: &Whose<'_>, first: usize, next: usize, near: usize) -> Markup {
    let last = next.saturating_sub(1);
    html! {
        @if first < next {
            p.gap {
                @if first == last { "Line " (first) " is not shown here. " }
                @else { "Lines " (first) " to " (last) " are not shown here. " }
                a href=(whose.line(near)) {
                    @if near == first { "Show from line " (near) } @else { "Show up to line " (near) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;

    const PLAIN: Wanted = Wanted { line: 0, all: false, ended: true, failed: false };

    fn page(log: Log, content: &str, wanted: Wanted) -> (Shown, String) {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        std::fs::write(&path, content).unwrap();
        let file = LogFile { log, path: path.to_path_buf(), zone: Tz::UTC };
        let build = v1::Build { id: "b".to_owned(), ..v1::Build::default() };
        let shown = Shown::read(&file, wanted).unwrap();
        let page = shown.render(&Whose { build: &build, log, target: Some("small") }).into_string();
        (shown, page)
    }

    /// Which sections are open, and which are there.
    fn sections(page: &str) -> (Vec<&str>, usize) {
        let each: Vec<_> = page.split("<details").skip(1).collect();
        let name = |part: &&str| part.split("<h3>").nth(1).unwrap().split('<').next().unwrap().to_owned();
        let open = each.iter().filter(|part| part.split('>').next().unwrap().contains(" open"));
        let open: Vec<String> = open.map(name).collect();
        let open =
            open.iter().map(|name| page.find(name.as_str()).map(|at| &page[at..at + name.len()]).unwrap());
        (open.collect(), each.len())
    }

    const BUILD: &str = include_str!("../../builder/fixtures/success.log");

    #[test]
    fn each_line_has_its_number_which_is_a_link_to_it() {
        let (shown, page) = page(Log::Build, BUILD, PLAIN);
        assert_eq!(sections(&page), (vec!["convert"], 12));
        assert!(shown.is_folded());
        for section in shown.outline.sections.list() {
            assert!(page.contains(&format!(" id=\"part-{}\"", section.first)), "{section:?}");
        }
        let (number, line) =
            (1..).zip(BUILD.lines()).find(|(_, line)| line.contains("Building in /")).unwrap();
        let text = line.split_once(" | ").unwrap().1;
        let expected = format!(
            "<span class=\"line\" id=\"L{number}\"><a class=\"no\" href=\"/builds/b?log=build&amp;line={number}#L{number}\">\
             {number}</a><span class=\"at\">08:39:40</span>{text}\n</span>"
        );
        assert!(page.contains(&expected), "{expected}\n{page}");
        let ids = page.matches(" id=\"L").count();
        assert_eq!(ids, BUILD.lines().count());
        assert_eq!(page.matches("not shown here").count(), 0);
    }

    #[test]
    fn what_is_wanted_is_open() {
        let all = page(Log::Build, BUILD, Wanted { all: true, ..PLAIN });
        assert_eq!(sections(&all.1).0.len(), 12);
        assert!(!all.0.is_folded());
        let (number, _) =
            (1..).zip(BUILD.lines()).find(|(_, line)| line.contains("Installing GRUB2")).unwrap();
        let (shown, one) = page(Log::Build, BUILD, Wanted { line: number, ..PLAIN });
        assert_eq!(sections(&one).0, ["finalise"]);
        assert_eq!((shown.line(), shown.missing(), shown.end()), (Some(number), None, None));
        let marked = format!("id=\"L{number}\" aria-current=\"true\"");
        assert!(one.contains(&marked) && one.matches("aria-current").count() == 1, "{one}");
        let (shown, beyond) = page(Log::Build, BUILD, Wanted { line: 99_999, ..PLAIN });
        assert_eq!(sections(&beyond).0, ["convert"]);
        assert_eq!((shown.line(), shown.missing()), (None, Some(99_999)));
        assert_eq!((shown.count(), shown.end()), (BUILD.lines().count(), Some(BUILD.len() as u64)));
    }

    #[test]
    fn of_a_long_log_every_section_is_there_and_leads_to_its_lines() {
        let console = format!(
            "SeaBIOS (version 1)\n[    0.000000] Linux version 6\n{}[FAILED] Failed to start a.service.\n{}\
             Cloud-init v. 24 running 'init' at Mon.\n{}",
            "[    1.000000] early\n".repeat(5000),
            "[    2.000000] between\n".repeat(5000),
            "[    3.000000] late\n".repeat(5000),
        );
        let (_, failed) = page(Log::Console, &console, Wanted { failed: true, ..PLAIN });
        assert_eq!(sections(&failed), (vec!["userspace"], 4));
        assert!(failed.contains(" open data-failing") || failed.contains(" data-failing open"), "{failed}");
        assert!(failed.contains("Failed to start a.service") && failed.contains("late"), "{failed}");
        assert!(failed.len() < 1_000_000, "{}", failed.len());
        // In front of the error's part, behind it, and in front of the end.
        assert_eq!(failed.matches("not shown here").count(), 4, "{failed}");
        assert!(
            failed.contains(
                "href=\"/builds/b?log=console&amp;target=small&amp;line=1#L1\">Show from line 1</a>"
            )
        );
        let (_, passed) = page(Log::Console, &console, Wanted { failed: false, ..PLAIN });
        assert_eq!(sections(&passed), (vec!["cloud-init init"], 4));
        let (_, live) = page(Log::Console, &console, Wanted { failed: true, ended: false, ..PLAIN });
        assert_eq!(sections(&live).0, ["userspace", "cloud-init init"]);
    }

    #[test]
    fn what_others_wrote_is_no_markup_and_what_the_agent_said_has_no_sections() {
        let (shown, page) = page(Log::Agent, "{\"event\":\"<b>\"}\nno <i>JSON</i>\n", PLAIN);
        assert!(page.starts_with("<pre><span class=\"line\" id=\"L1\"><a"), "{page}");
        assert!(page.contains("&lt;b&gt;\n") && page.contains("no &lt;i&gt;JSON"), "{page}");
        assert!(!shown.is_folded() && !page.contains("<details"), "{page}");
        assert_eq!(self::page(Log::Build, "", PLAIN).1, "");
    }

    #[test]
    fn lines_that_were_found_lead_to_their_place() {
        let build = v1::Build { id: "b".to_owned(), ..v1::Build::default() };
        let line = Line { number: 7, text: "x".to_owned(), ..Line::default() };
        let whose = Whose { build: &build, log: Log::Build, target: None };
        let page = found(&whose, &[line]).into_string();
        assert!(page.contains("href=\"/builds/b?log=build&amp;line=7#L7\">7</a>x"), "{page}");
        assert!(!page.contains(" id="), "the place is not here: {page}");
    }
}
