//! The overview with many schedules.

use std::path::Path;

use image_manager_proto::v1::BuildState;

use super::*;
use crate::schedules;

/// So many schedules, the longest names, each with as many builds as a strip shows; one in ten failed.
fn many(count: usize) -> Vec<Standing> {
    let text = (0..count)
        .map(|number| {
            let name =
                format!("{}-{number:03}", "a-schedule-with-a-name-of-sixty-three-characters-as-dns-has-it");
            let name = &name[name.len() - 63..];
            format!("[schedule.{name}]\ncron = \"{} 3 * * *\"\nimage.elements = [\"debian\"]\n", number % 60)
        })
        .collect::<Vec<_>>()
        .concat();
    let schedules = schedules::parse(Path::new("schedules.toml"), &text).unwrap();
    let now = clock::now();
    let one = |(number, schedule): (usize, &Schedule)| {
        let build = |age: i64| {
            let bad = number % 10 == 9 && age == 0;
            let at = Some(clock::timestamp((now - chrono::TimeDelta::days(age + 1)).timestamp_millis()));
            v1::Build {
                id: format!("019a21b0-3f72-71c7-8d09-{number:06x}{age:06x}"),
                schedule: schedule.name.clone(),
                state: if bad { BuildState::Failed } else { BuildState::Succeeded }.into(),
                reason: if bad { "check_failed" } else { "" }.to_owned(),
                failed_checks: if bad { vec!["disk".to_owned()] } else { Vec::new() },
                created_at: at,
                started_at: at,
                finished_at: at,
                ..v1::Build::default()
            }
        };
        let builds: Vec<_> = (0..i64::from(STRIP)).map(build).collect();
        let concerns = builds.first().filter(|build| build.state() == BuildState::Failed).cloned();
        Standing::new(schedule.clone(), None, builds, concerns.into_iter().collect(), now)
    };
    schedules.schedules.iter().enumerate().map(one).collect()
}

async fn rendered(standings: &[Standing], choice: &Choice) -> String {
    let (found, groups) = choice.of(standings);
    let (first, rows) = choice.page_of(&found);
    let view = View { standings, found: found.len(), groups, first, rows, operator: true };
    let answer = layout(true).render(&view.body(choice));
    let bytes = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn two_hundred_schedules_are_a_small_page_with_the_failures_first() {
    let standings = many(200);
    let page = rendered(&standings, &Choice::default()).await;
    assert!(page.len() < 100_000, "{} bytes", page.len());
    let states: Vec<_> = page
        .match_indices("<span class=\"badge ")
        .map(|(at, _)| page[at + 19..].starts_with("bad"))
        .collect();
    assert_eq!(states.len(), 50);
    assert!(states[..20].iter().all(|bad| *bad) && !states[20..].contains(&true), "{states:?}");
    assert_eq!(page.matches("</code>: disk").count(), 20);
    for words in ["20 need attention", "200 total", "1 to 50 of 200", "href=\"/?page=2\" rel=\"next\""] {
        assert!(page.contains(words), "{words}");
    }
    let last = rendered(&standings, &Choice { page: 4, ..Choice::default() }).await;
    assert!(last.contains("151 to 200 of 200") && !last.contains("rel=\"next\""));
}

#[tokio::test]
async fn tallies_search_and_order_choose_what_is_shown() {
    let standings = many(30);
    let names = |choice: &Choice| {
        let found = choice.of(&standings).0.into_iter();
        found.map(|standing| standing.schedule.name[60..].to_owned()).collect::<Vec<_>>()
    };
    let choice = |show: &str, q: &str, sort: &str| Choice {
        show: show.to_owned(),
        q: q.to_owned(),
        sort: sort.to_owned(),
        ..Choice::default()
    };
    assert_eq!(names(&choice("attention", "", "")), ["009", "019", "029"]);
    assert_eq!(names(&choice("", "-01", "name"))[..3], ["019", "010", "011"], "the failed one is a group");
    assert_eq!(names(&choice("", "CHECK_f", "")), ["009", "019", "029"], "by the reason");
    assert_eq!(names(&choice("", "", ""))[..4], ["009", "019", "029", "000"], "and then the file's order");
    let alphabet = Choice { group: "none".to_owned(), ..choice("", "", "name") };
    assert_eq!(names(&alphabet)[..2], ["000", "001"]);
    assert_eq!(names(&choice("", "", "name"))[..4], ["009", "019", "029", "000"], "in each group");
    assert!(names(&choice("paused", "", "")).is_empty());
    assert!(choice("", "", "sideways").check().is_err() && choice("bad", "", "").check().is_err());
    let page = rendered(&standings, &choice("attention", "a&b", "name")).await;
    assert!(page.contains("No schedules match.") && page.contains("/?q=a%26b&amp;sort=name"), "{page}");
    let quiet = rendered(&standings[..5], &Choice::default()).await;
    assert!(quiet.contains("nothing needs attention"));
    assert!(!page.contains("nothing needs attention"));
}

/// What came after it without a verdict of its kind hides nothing.
#[tokio::test]
async fn a_row_tells_of_the_build_that_needs_attention() {
    let mut standing = many(1).pop().unwrap();
    let failed = v1::Build {
        id: "019a21b0-3f72-71c7-8d09-000000000001".to_owned(),
        state: BuildState::Failed.into(),
        reason: "check_failed".to_owned(),
        failed_checks: vec!["ssh".to_owned()],
        verification: true,
        ..v1::Build::default()
    };
    standing.concerns = vec![failed];
    let page = rendered(&[standing], &Choice::default()).await;
    for words in [
        "href=\"/builds/019a21b0-3f72-71c7-8d09-000000000001\"",
        "verification: ",
        "</code>: ssh",
        "1 needs attention",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(!page.contains("nothing needs attention"));
}

#[tokio::test]
async fn groups_begin_where_the_first_of_them_is_and_are_told_again_on_the_next_page() {
    let standings = many(200);
    let headings = |page: &str| {
        let parts = page.split("<li class=\"group\" ").skip(1);
        parts
            .map(|part| {
                part.split("</li>")
                    .next()
                    .unwrap()
                    .split('>')
                    .filter(|text| !text.starts_with('<'))
                    .collect::<String>()
            })
            .collect::<Vec<_>>()
    };
    let first = rendered(&standings, &Choice::default()).await;
    let told = headings(&first);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains("Failed") && told[0].contains("20") && told[1].contains("No attention needed"),
        "{told:?}"
    );
    assert!(first.contains("href=\"/#group-1\">No attention needed 180</a>"), "{first}");
    assert!(first.contains("<h3><a href=\"/schedules/"), "below the headings of the groups");
    let second = rendered(&standings, &Choice { page: 2, ..Choice::default() }).await;
    assert_eq!(headings(&second).len(), 1);
    let none = rendered(&standings, &Choice { group: "none".to_owned(), ..Choice::default() }).await;
    assert!(headings(&none).is_empty() && none.contains("<h2><a href=\"/schedules/"));
}

#[test]
fn clouds_and_distributions_are_groups_the_largest_first() {
    let schedule = |name: &str, element: &str, more: &str| {
        format!("[schedule.{name}]\nimage.elements = [\"{element}\", \"vm\"]\n{more}\n")
    };
    let lab = "cloud = \"lab\"\nserver = { flavor = \"small\", network = \"private\" }";
    let text = [
        schedule("a", "ubuntu-minimal", lab),
        schedule("b", "own-element", ""),
        schedule("c", "debian-minimal", ""),
        schedule("d", "debian", ""),
    ];
    let parsed = schedules::parse(Path::new("schedules.toml"), &text.concat()).unwrap();
    let standing =
        |schedule: &Schedule| Standing::new(schedule.clone(), None, Vec::new(), Vec::new(), clock::now());
    let standings: Vec<_> = parsed.schedules.iter().map(standing).collect();
    for (group, names, begin) in [
        ("cloud", ["b", "c", "d", "a"], vec![0, 3]),
        ("distribution", ["c", "d", "b", "a"], vec![0, 2, 3]),
        ("", ["a", "b", "c", "d"], vec![]),
    ] {
        let (found, groups) = Choice { group: group.to_owned(), ..Choice::default() }.of(&standings);
        assert_eq!(
            found.iter().map(|standing| &*standing.schedule.name).collect::<Vec<_>>(),
            names,
            "{group}"
        );
        assert_eq!(groups.iter().map(|group| group.first).collect::<Vec<_>>(), begin, "{group}: {groups:?}");
    }
    assert!(Choice { group: "colour".to_owned(), ..Choice::default() }.check().is_err());
}
