use super::super::describe;
use super::{read, utc};

#[test]
fn the_overview_shows_three_fire_times_in_the_schedule_s_zone() {
    let schedules = read(
        "[schedule.debian]\ncron = \"0 3 * * *\"\ntimezone = \"Europe/Berlin\"\nimage.elements = [\"vm\"]\n\
         [schedule.later]\ncloud = \"mycloud\"\nimage.elements = [\"vm\"]\n\
         server.flavor = \"m1.small\"\n",
    );
    let expected = "\
SCHEDULE  CLOUD    CRON       ZONE           NEXT
debian    local    0 3 * * *  Europe/Berlin  Sun 2026-03-29 03:00:00 CEST (in 2 h)
                                             Mon 2026-03-30 03:00:00 CEST (in 26 h)
                                             Tue 2026-03-31 03:00:00 CEST (in 2 days)
later     mycloud  on demand  UTC            -
";
    assert_eq!(describe(&schedules, utc("2026-03-28T22:30:00Z")), expected);
    assert_eq!(describe(&read(""), utc("2026-03-28T22:30:00Z")), "no schedules\n");
}

#[test]
fn when_the_published_image_is_verified_again_is_told_below() {
    let file = "[schedule.web]\nimage.elements = [\"a\"]\ncron = \"\"\npublish.name = \"web\"\nreverify = \"0 5 * * *\"\n";
    let table = describe(&read(file), utc("2026-11-01T04:00:00Z"));
    let last = table.lines().last().unwrap();
    assert!(
        last.contains("reverify 0 5 * * *") && last.ends_with("Sun 2026-11-01 05:00:00 UTC (in 1 h)"),
        "{table}"
    );
}
