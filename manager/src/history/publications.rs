//! Which image has, or had, which public name in which cloud. A row outlives its build's.

use image_manager_proto::v1;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::builds::signed;
use super::names::Named as _;
use super::{History, HistoryError, confirmed, now_ms, revocations, verified};
use crate::clock::timestamp;

/// Which publications are asked for.
#[derive(Debug, Clone, Default)]
pub struct PublicationFilter {
    /// Only this name.
    pub name: Option<String>,
    /// Only this cloud.
    pub cloud: Option<String>,
    /// Only those of this build.
    pub build_id: Option<String>,
    /// Those whose image is not in the cloud any more, too.
    pub removed: bool,
    /// So many are passed over.
    pub after: u32,
    /// At most so many; [`Self::MOST`] at most.
    pub limit: u32,
}

impl PublicationFilter {
    /// Most rows on a page.
    pub const MOST: u32 = 1000;
}

/// Some publications.
#[derive(Debug, Clone, PartialEq)]
pub struct PublicationPage {
    /// By name and cloud; the current one first, then the newer builds.
    pub publications: Vec<v1::Publication>,
    /// How many are to be passed over for the next page; `None` on the last.
    pub next: Option<u32>,
}

/// The columns that [`publication`] reads.
pub(super) const COLUMNS: &str = "name, cloud, state, build_id, schedule, image_id, location, sha512, size_bytes, kind, why, \
    published_at, published_by, revoked_at, revoked_by, revoked_reason, held";

impl History {
    /// A page of publications.
    pub async fn publications(&self, filter: PublicationFilter) -> Result<PublicationPage, HistoryError> {
        self.read(move |connection| {
            let limit = filter.limit.clamp(1, PublicationFilter::MOST);
            let mut statement = connection.prepare_cached(&page_question(&filter))?;
            let PublicationFilter { name, cloud, build_id, after, .. } = &filter;
            let values = params![name, cloud, build_id, limit.saturating_add(1), after];
            let mut publications: Vec<_> =
                statement.query_map(values, publication)?.collect::<Result<_, _>>()?;
            let fit = usize::try_from(limit).unwrap_or(usize::MAX);
            let more = publications.len() > fit;
            publications.truncate(fit);
            tell(connection, &mut publications)?;
            Ok(PublicationPage { publications, next: more.then(|| after.saturating_add(limit)) })
        })
        .await
    }

    /// For each of these publications the build whose image had the name before; `None` where there was none, or where the
    /// history does not have both builds any more. Which came first is told by the builds' ids: a name may go back.
    pub async fn published_before(
        &self,
        publications: &[v1::Publication],
    ) -> Result<Vec<Option<String>>, HistoryError> {
        let keys = publications.iter().take(PublicationFilter::MOST as usize);
        let keys: Vec<_> =
            keys.map(|image| [image.name.clone(), image.cloud.clone(), image.build_id.clone()]).collect();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id FROM build WHERE id = (SELECT max(build_id) FROM publication
                    WHERE name = ?1 AND cloud = ?2 AND build_id < ?3) AND EXISTS (SELECT 1 FROM build WHERE id = ?3)",
            )?;
            let before = keys.iter().map(|[name, cloud, build]| {
                statement.query_row(params![name, cloud, build], |row| row.get(0)).optional()
            });
            Ok(before.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Every name's current image, at most so many.
    pub async fn current_publications(&self, limit: u32) -> Result<Vec<v1::Publication>, HistoryError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM publication WHERE state = 'current' ORDER BY name, cloud LIMIT ?1"
            ))?;
            let mut current: Vec<_> = statement.query_map([limit], publication)?.collect::<Result<_, _>>()?;
            tell(connection, &mut current)?;
            Ok(current)
        })
        .await
    }

    /// The current images of names that were only ever given by promoting: no build has published under them there.
    pub async fn promoted_names(&self) -> Result<Vec<v1::Publication>, HistoryError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&promoted_question())?;
            Ok(statement.query_map([PublicationFilter::MOST], publication)?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The ids of the images that have public names in a cloud now.
    pub async fn current_images(&self, cloud: &str) -> Result<Vec<String>, HistoryError> {
        let cloud = cloud.to_owned();
        self.read(move |connection| {
            let query = "SELECT image_id FROM publication WHERE cloud = ?1 AND state = 'current' LIMIT ?2";
            let mut statement = connection.prepare_cached(query)?;
            Ok(statement
                .query_map(params![cloud, PublicationFilter::MOST], |row| row.get(0))?
                .collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The clouds where a name is, or is about to change.
    pub async fn clouds_with_names(&self) -> Result<Vec<String>, HistoryError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT cloud FROM publication INDEXED BY publication_there WHERE state <> 'removed'
                 UNION SELECT cloud FROM handover ORDER BY 1 LIMIT ?1",
            )?;
            Ok(statement.query_map([PublicationFilter::MOST], |row| row.get(0))?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Whether an image of this build has, or had, a public name and is still in a cloud.
    pub async fn is_published(&self, build_id: &str) -> Result<bool, HistoryError> {
        let id = build_id.to_owned();
        self.read(move |connection| {
            let found =
                "SELECT EXISTS (SELECT 1 FROM publication WHERE build_id = ?1 AND state <> 'removed')";
            Ok(connection.query_row(found, [id], |row| row.get(0))?)
        })
        .await
    }

    /// Records which older images of a name are there still though nothing keeps them, by hash and why; no others are.
    pub async fn record_held(
        &self,
        name: &str,
        cloud: &str,
        held: Vec<(String, String)>,
    ) -> Result<(), HistoryError> {
        let (name, cloud) = (name.to_owned(), cloud.to_owned());
        self.writer()?.run("publication:held", move |tx| hold(tx, &name, &cloud, &held)).await
    }

    /// Records which images a cloud has under a name, by hash, and where; the others of that name are removed by now.
    pub async fn record_there(
        &self,
        name: &str,
        cloud: &str,
        there: Vec<(String, String)>,
    ) -> Result<(), HistoryError> {
        let (name, cloud) = (name.to_owned(), cloud.to_owned());
        self.writer()?
            .run("publication:there", move |tx| {
                tx.execute_batch("CREATE TEMP TABLE IF NOT EXISTS there (sha512 TEXT, location TEXT)")?;
                tx.execute("DELETE FROM there", [])?;
                for (sha512, location) in &there {
                    tx.execute("INSERT INTO there VALUES (?1, ?2)", params![sha512, location])?;
                }
                tx.execute(
                    "UPDATE publication SET state = 'removed', location = '', held = '' WHERE name = ?1 AND cloud = ?2
                        AND state <> 'current' AND sha512 NOT IN (SELECT sha512 FROM there)",
                    params![name, cloud],
                )?;
                tx.execute(
                    "UPDATE publication SET location = (SELECT location FROM there
                            WHERE there.sha512 = publication.sha512 LIMIT 1)
                     WHERE name = ?1 AND cloud = ?2 AND sha512 IN (SELECT sha512 FROM there)",
                    params![name, cloud],
                )?;
                Ok(())
            })
            .await
    }
}

/// The rows of a page: ?1 to ?3 are name, cloud and build, ?4 and ?5 how many and after how many.
pub(super) fn page_question(filter: &PublicationFilter) -> String {
    // Said outright: rows whose image is gone are many times as many as the others, and no row is to be read for nothing.
    let index = match (&filter.build_id, filter.removed) {
        (Some(_), _) => "publication_by_build",
        (None, false) => "publication_there",
        (None, true) => "sqlite_autoindex_publication_1",
    };
    let wanted = |given: bool, column: &str, place: u32| {
        if given { format!("{column} = ?{place}") } else { format!("?{place} IS NULL") }
    };
    let conditions = [
        wanted(filter.name.is_some(), "name", 1),
        wanted(filter.cloud.is_some(), "cloud", 2),
        wanted(filter.build_id.is_some(), "build_id", 3),
        if filter.removed { "true" } else { "state <> 'removed'" }.to_owned(),
    ];
    format!(
        "SELECT {COLUMNS} FROM publication INDEXED BY {index} WHERE {}
         ORDER BY name, cloud, state <> 'current', build_id DESC LIMIT ?4 OFFSET ?5",
        conditions.join(" AND ")
    )
}

/// The current images of names that no build has published under; ?1: how many. How an image got its name last says nothing
/// of how it got it first; the audit trail does. The action is said outright, as its index has it.
pub(super) fn promoted_question() -> String {
    format!(
        "SELECT {COLUMNS} FROM publication p INDEXED BY publication_one_current WHERE state = 'current' AND NOT EXISTS
            (SELECT 1 FROM publication q WHERE q.name = p.name AND q.cloud = p.cloud AND (q.kind = 'published' OR NOT EXISTS
                (SELECT 1 FROM audit a INDEXED BY audit_promoted
                 WHERE a.action = 'image.promoted' AND a.subject = q.name AND a.build_id = q.build_id)))
         ORDER BY name, cloud LIMIT ?1"
    )
}

/// The publications of a name of which images are there still that nothing keeps any more, by hash and why.
fn hold(
    tx: &Transaction<'_>,
    name: &str,
    cloud: &str,
    held: &[(String, String)],
) -> Result<(), HistoryError> {
    let none = "UPDATE publication SET held = '' WHERE name = ?1 AND cloud = ?2 AND held <> ''";
    tx.execute(none, params![name, cloud])?;
    for (sha512, why) in held {
        tx.execute(
            "UPDATE publication SET held = ?4 WHERE name = ?1 AND cloud = ?2 AND sha512 = ?3
                AND state IN ('previous', 'revoked')",
            params![name, cloud, sha512, why],
        )?;
    }
    Ok(())
}

/// A build's image has been given its name. The one that had it has it no more, and what was to become of the name is
/// overtaken; what was to be revoked still is, and so is this image, if others of its build were revoked meanwhile.
pub(super) fn published(
    tx: &Transaction<'_>,
    build_id: &str,
    cloud: &str,
    image: &v1::Image,
    location: &str,
) -> Result<(), HistoryError> {
    tx.execute(
        "UPDATE publication SET state = 'previous'
         WHERE name = ?1 AND cloud = ?2 AND state = 'current' AND build_id <> ?3",
        params![image.name, cloud, build_id],
    )?;
    tx.execute(
        "INSERT INTO publication (name, cloud, schedule, build_id, image_id, location, sha512, size_bytes, kind,
            published_at, published_by, state)
         SELECT ?1, ?2, schedule, id, ?4, ?5, ?6, ?7, 'published', ?8, requested_by, 'current' FROM build WHERE id = ?3
         ON CONFLICT (name, cloud, build_id) DO UPDATE SET state = 'current', location = excluded.location",
        params![
            image.name,
            cloud,
            build_id,
            image.id,
            location,
            image.sha512,
            signed(image.size_bytes),
            now_ms()
        ],
    )?;
    revocations::mark_if_revoked(tx, &image.name, cloud, build_id)?;
    tx.execute(
        "DELETE FROM handover WHERE name = ?1 AND cloud = ?2 AND kind <> 'revoked'",
        params![image.name, cloud],
    )?;
    tx.execute(
        "UPDATE handover SET to_build = NULL WHERE name = ?1 AND cloud = ?2",
        params![image.name, cloud],
    )?;
    Ok(())
}

/// What the history says of images beside their rows.
fn tell(connection: &Connection, publications: &mut [v1::Publication]) -> Result<(), HistoryError> {
    verified::tell(connection, publications)?;
    confirmed::tell(connection, publications)
}

/// Reads a row of [`COLUMNS`]; [`tell`] adds when the image was verified and confirmed last.
pub(super) fn publication(row: &Row<'_>) -> rusqlite::Result<v1::Publication> {
    let (state, kind): (String, String) = (row.get(2)?, row.get(9)?);
    Ok(v1::Publication {
        name: row.get(0)?,
        cloud: row.get(1)?,
        state: v1::PublicationState::from_word(&state).unwrap_or_default().into(),
        build_id: row.get(3)?,
        schedule: row.get(4)?,
        image_id: row.get(5)?,
        location: row.get(6)?,
        sha512: row.get(7)?,
        size_bytes: u64::try_from(row.get::<_, i64>(8)?).unwrap_or_default(),
        kind: v1::PublicationKind::from_word(&kind).unwrap_or_default().into(),
        why: row.get(10)?,
        published_at: Some(timestamp(row.get(11)?)),
        published_by: row.get(12)?,
        revoked_at: row.get::<_, Option<i64>>(13)?.map(timestamp),
        revoked_by: row.get(14)?,
        revoked_reason: row.get(15)?,
        held: row.get(16)?,
        ..v1::Publication::default()
    })
}
