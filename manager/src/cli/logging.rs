//! What the manager says of itself: to standard error, and to a file when one is asked for.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clap::{Args, ValueEnum};
use image_manager_agent::log_fields::VisibleFields;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use super::Trouble;
use super::log_filter::LogFilter;
use super::rotation::RotatingFile;
use super::text::Style;
use crate::untrusted::json::EscapedLines;

/// The first two print user_data and tokens when they may; the third tells of its own insides.
const CAPPED: &str = "openstack=info,osauth=info,tokio_cron_scheduler=warn";

/// disk-image-builder's lines are in the log of their build; here only whoever asks for them wants them.
const WITHOUT_DIB: &str = "dib=warn";

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object on each line
    Json,
}

/// What the manager logs of itself, and where.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Log")]
pub(crate) struct LogArguments {
    /// What to log: error, warn, info, debug, or a filter such as "info,dib=info", which includes disk-image-builder's
    /// output [default: info for serve, else error]
    #[arg(long, value_name = "FILTER", env = "IMAGE_MANAGER_LOG")]
    pub(crate) log: Option<LogFilter>,
    /// Format of the log lines
    #[arg(long, value_name = "FORMAT", value_enum, env = "IMAGE_MANAGER_LOG_FORMAT", default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// Also log to this file; it is rotated at 16 MiB, and the last 4 are kept as FILE.1 to FILE.4
    #[arg(long, value_name = "FILE", env = "IMAGE_MANAGER_LOG_FILE")]
    pub(crate) log_file: Option<PathBuf>,
}

/// Sets logging up; `default` is the filter when none is given.
pub(crate) fn start(arguments: &LogArguments, default: &str) -> Result<(), Trouble> {
    let wanted = arguments.log.as_ref().map_or_else(|| default.to_owned(), |log| log.directives(default));
    let with_dib = arguments.log.as_ref().is_some_and(LogFilter::names_dib);
    let wanted = if with_dib { wanted } else { format!("{wanted},{WITHOUT_DIB}") };
    let filter = EnvFilter::builder().parse_lossy(format!("{wanted},{CAPPED}"));
    let format = arguments.log_format;
    #[expect(clippy::disallowed_methods, reason = "the layer escapes what is logged")]
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

/// What is logged is escaped here: in text by the fields' formatter, in JSON by the writer.
fn layer<W>(format: LogFormat, writer: W, colours: bool) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    match format {
        LogFormat::Text => {
            fmt::layer().fmt_fields(VisibleFields).with_writer(writer).with_ansi(colours).boxed()
        }
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(EscapedLines(writer))
            .boxed(),
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
