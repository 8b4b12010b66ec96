//! The one thread that writes.

use rusqlite::{Connection, Transaction};
use tokio::sync::{mpsc, oneshot};

use super::HistoryError;

/// Writes that may wait; a caller beyond that waits for a place.
const QUEUE: usize = 256;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Sends work to the writing thread and waits for its commit.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    pub(super) fn start(mut connection: Connection) -> Result<Self, HistoryError> {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        std::thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut connection);
                }
            })
            .map_err(|_| HistoryError::Closed)?;
        Ok(Self { jobs })
    }

    /// Runs `work` in a transaction of its own; returns after the commit. An error rolls all of it back.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, HistoryError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, HistoryError> + Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let outcome = in_transaction(connection, work);
            // The caller may have given up waiting; the work is done all the same.
            let _ = answer.send(outcome);
        });
        self.jobs.send(job).await.map_err(|_| HistoryError::Closed)?;
        result.await.map_err(|_| HistoryError::Closed)?
    }
}

fn in_transaction<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, HistoryError>,
) -> Result<T, HistoryError> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let value = work(&transaction)?;
    transaction.commit()?;
    Ok(value)
}
