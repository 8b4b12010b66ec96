//! The one thread that writes.

use rusqlite::{Connection, Transaction};
use tokio::sync::{mpsc, oneshot};

use super::HistoryError;
use super::points::{Point, TestPoints};

/// Writes that may wait; a caller beyond that waits for a place.
const QUEUE: usize = 256;

type Job = Box<dyn FnOnce(&mut WriterState) + Send>;

/// What the writing thread works with.
struct WriterState {
    connection: Connection,
    /// `None` but in tests.
    test_points: Option<TestPoints>,
}

/// Sends work to the writing thread and waits for its commit.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    pub(super) fn start(connection: Connection) -> Result<Self, HistoryError> {
        let mut state = WriterState { connection, test_points: TestPoints::from_environment()? };
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        std::thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut state);
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
        let job: Job = Box::new(move |state| {
            let outcome = in_transaction(state, &point, work);
            // The caller may have given up waiting; the work is done all the same.
            let _ = answer.send(outcome);
        });
        self.jobs.send(job).await.map_err(|_| HistoryError::Closed)?;
        result.await.map_err(|_| HistoryError::Closed)?
    }
}

fn in_transaction<T>(
    state: &mut WriterState,
    point: &Point,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, HistoryError>,
) -> Result<T, HistoryError> {
    let transaction = state.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let value = work(&transaction)?;
    let commit = match &mut state.test_points {
        Some(test_points) => Some(test_points.before(point, &transaction)?),
        None => None,
    };
    transaction.commit()?;
    if let (Some(test_points), Some(commit)) = (&mut state.test_points, commit) {
        test_points.after(&commit);
    }
    Ok(value)
}
