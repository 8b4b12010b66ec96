//! Log lines on standard error, which is the journal and the serial console. They are evidence when
//! nothing else of the server can be reached, so they are plain: uptime instead of a clock that may be
//! wrong, no colours, no module paths.

use std::fmt;
use std::io;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use crate::End;
use crate::guest::Guest;
use crate::log_fields::VisibleFields;

struct PlainLine {
    guest: Guest,
}

impl<S, N> FormatEvent<S, N> for PlainLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "image-manager-agent[{:.1}s]: ", self.guest.uptime().as_secs_f64())?;
        match *event.metadata().level() {
            Level::ERROR => write!(writer, "error: ")?,
            Level::WARN => write!(writer, "warning: ")?,
            _ => {}
        }
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// Sends log lines to standard error from now on. A second call changes nothing.
#[expect(clippy::disallowed_methods, reason = "the fields' formatter escapes what is logged")]
pub(crate) fn install() {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(Level::INFO)
        .with_writer(io::stderr)
        .with_ansi(false)
        .fmt_fields(VisibleFields)
        .event_format(PlainLine { guest: Guest::default() })
        .finish();
    // Fails only when there is one already, which is then as good.
    drop(tracing::subscriber::set_global_default(subscriber));
}

/// The end of the agent's life, for the last line.
pub(crate) fn describe(end: End) -> &'static str {
    match end {
        End::NotOurs => "the metadata names another manager or build",
        End::NoIdentity => "no manager is waiting for this server",
        End::Reported => "the manager has the report",
        End::NobodyWaits => "no manager took the report, and none is waiting any longer",
    }
}
