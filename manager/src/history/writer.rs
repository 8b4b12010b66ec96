//! The one thread that writes.

use rusqlite::{Connection, Transaction};
use tokio::sync::{mpsc, oneshot};

use super::HistoryError;
use super::points::{Door, Point};

/// Writes that may wait; a caller beyond that waits for a place.
const QUEUE: usize = 256;

type Job = Box<dyn FnOnce(&mut Desk) + Send>;

/// What the writing thread works with.
struct Desk {
    connection: Connection,
    /// `None` but in tests.
    door: Option<Door>,
}

/// Sends work to the writing thread and waits for its commit.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    pub(super) fn start(connection: Connection) -> Result<Self, HistoryError> {
        let mut desk = Desk { connection, door: Door::from_environment()? };
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        std::thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut desk);
                }
            })
            .map_err(|_| HistoryError::Closed)?;
        Ok(Self { jobs })
    }

    /// Runs `work` in a transaction of its own; returns after the commit. An error rolls all of it back. The
    /// commit has a name, by which tests kill the manager beside it.
    pub(super) async fn run<T, F>(&self, point: impl Into<Point>, work: F) -> Result<T, HistoryError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, HistoryError> + Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        let point = point.into();
        let job: Job = Box::new(move |desk| {
            let outcome = in_transaction(desk, &point, work);
            // The caller may have given up waiting; the work is done all the same.
            let _ = answer.send(outcome);
        });
        self.jobs.send(job).await.map_err(|_| HistoryError::Closed)?;
        result.await.map_err(|_| HistoryError::Closed)?
    }
}

fn in_transaction<T>(
    desk: &mut Desk,
    point: &Point,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, HistoryError>,
) -> Result<T, HistoryError> {
    let transaction = desk.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let value = work(&transaction)?;
    let commit = match &mut desk.door {
        Some(door) => Some(door.before(point, &transaction)?),
        None => None,
    };
    transaction.commit()?;
    if let (Some(door), Some(commit)) = (&mut desk.door, commit) {
        door.after(&commit);
    }
    Ok(value)
}
