//! How SQLite finds things in a history of millions, and what is read of many schedules at once.

use image_manager_proto::v1::{self, Verdict};

use super::tests::{build_to_its_end, open};
use super::*;

/// No walk over all images that are gone, over all ids for the end of one, or over all of the audit trail.
#[tokio::test]
async fn what_is_looked_for_among_millions_is_found_by_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    let plan = async |sql: String| {
        let read = move |connection: &Connection| {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            let given = vec![rusqlite::types::Null; statement.parameter_count()];
            let lines =
                statement.query_map(rusqlite::params_from_iter(given), |row| row.get::<_, String>(3))?;
            Ok(lines.collect::<Result<Vec<_>, _>>()?.join("; "))
        };
        history.read(read).await.unwrap()
    };
    for bits in 0..16_u32 {
        let word = |bit: u32| (bits & bit > 0).then(|| "x".to_owned());
        let filter = PublicationFilter {
            name: word(1),
            cloud: word(2),
            build_id: word(4),
            removed: bits & 8 > 0,
            limit: 9,
            after: 0,
        };
        let found = plan(publications::page_question(&filter)).await;
        let needed = match (bits & 4 > 0, bits & 8 > 0) {
            (true, _) => "publication_by_build",
            (false, true) => "sqlite_autoindex_publication_1",
            (false, false) => "publication_there",
        };
        assert!(found.contains(needed), "{bits}: {found}");
        assert!(bits > 1 || !found.contains("TEMP B-TREE"), "{bits}: {found}");
    }
    let ends = plan(resolution::CONTAINS.to_owned()).await;
    assert!(ends.contains("build_by_last_part (") && ends.contains("build_by_end ("), "{ends}");
    let promoted = plan(publications::promoted_question()).await;
    for index in
        ["publication_one_current", "audit_promoted (subject=? AND build_id=?)", "(name=? AND cloud=?)"]
    {
        assert!(promoted.contains(index), "{index}: {promoted}");
    }
    assert!(!promoted.contains("TEMP B-TREE"), "{promoted}");
    for (sql, index) in [
        (newest::NEWEST_BUILD, "build_by_schedule_state"),
        (newest::NEWEST_VERIFICATION, "build_by_verification"),
    ] {
        let found = plan(sql.to_owned()).await;
        assert!(found.contains(&format!("{index} (schedule=? AND state=? AND id>?)")), "{found}");
        assert!(!found.contains("TEMP B-TREE"), "{found}");
    }
    let audit = plan(audit::NEWEST.to_owned()).await;
    assert!(audit.contains("SEARCH") && !audit.contains("TEMP B-TREE"), "{audit}");
}

#[tokio::test]
async fn the_newest_builds_of_many_schedules_are_one_look() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    for verdict in [Verdict::Passed, Verdict::Failed, Verdict::Errored] {
        build_to_its_end(&history, "web", verdict).await;
    }
    let names = || vec!["web".to_owned(), "never".to_owned()];
    let newest = history.newest_builds(names(), 2).await.unwrap();
    let verdicts: Vec<_> = newest["web"].iter().map(v1::Build::verdict).collect();
    assert_eq!(verdicts, [Verdict::Errored, Verdict::Failed]);
    assert!(newest["web"].iter().all(|build| build.trials.len() == 1));
    assert!(newest["never"].is_empty());
    let filter = BuildFilter { limit: 2, bare: true, ..BuildFilter::default() };
    assert_eq!(newest["web"], history.builds(filter).await.unwrap().builds, "as a page of builds has them");
    let strip = &history.newest_of_each(names(), 3).await.unwrap()["web"];
    let trials: Vec<usize> = strip.iter().map(|build| build.trials.len()).collect();
    assert_eq!(trials, [1, 1, 0], "of those whose trials are told");
}
