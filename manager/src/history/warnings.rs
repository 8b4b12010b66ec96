//! What is no failure of a build, and should be known all the same.

use rusqlite::params;

use super::{History, HistoryError};

/// Most warnings that a build keeps.
const MOST: usize = 20;

impl History {
    /// Records what whoever uses the image should know, a sentence each, in place of what was recorded before.
    pub async fn record_warnings(&self, id: &str, warnings: &[String]) -> Result<(), HistoryError> {
        let id = id.to_owned();
        let lines: Vec<String> =
            warnings.iter().take(MOST).map(|text| text.replace(['\r', '\n'], " ")).collect();
        let text = (!lines.is_empty()).then(|| lines.join("\n"));
        self.writer()?
            .run("record:warnings", move |tx| {
                tx.execute("UPDATE build SET warnings = ?2 WHERE id = ?1", params![id, text])?;
                Ok(())
            })
            .await
    }
}
