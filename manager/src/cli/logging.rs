//! What the manager says of itself: to standard error, and to a file when one is asked for.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use super::Trouble;
use super::arguments::{LogArguments, LogFormat};
use super::rotation::RotatingFile;
use super::text::Style;

/// These two print user_data and tokens when they may.
const CAPPED: &str = "openstack=info,osauth=info";

/// Sets logging up; `default` is the filter when none is given.
pub(crate) fn start(arguments: &LogArguments, default: &str) -> Result<(), Trouble> {
    let wanted = arguments.log.as_deref().unwrap_or(default);
    let filter = EnvFilter::builder().parse_lossy(format!("{wanted},{CAPPED}"));
    let format = arguments.log_format;
    let errors = layer(format, io::stderr, Style::of_stderr().colours());
    let file = match &arguments.log_file {
        None => None,
        Some(path) => {
            let file = RotatingFile::open(path).map_err(|error| {
                Trouble::usage(format!(
                    "--log-file {}: {error}; make the directory, or name another file",
                    path.display()
                ))
            })?;
            Some(layer(format, Shared(Arc::new(Mutex::new(file))), false))
        }
    };
    // A second call (tests) is no harm.
    let _ = tracing_subscriber::registry()
        .with(file.into_iter().chain([errors]).collect::<Vec<_>>())
        .with(filter)
        .try_init();
    Ok(())
}

fn layer<W>(format: LogFormat, writer: W, colours: bool) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer).with_ansi(colours);
    match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => {
            layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
    }
}

/// The log file, for all threads.
#[derive(Clone)]
struct Shared(Arc<Mutex<RotatingFile>>);

impl io::Write for Shared {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).append(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Shared {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
