//! Telling somebody else: a request to a webhook when a build has ended with a verdict, and when a schedule has
//! paused itself. `docs/webhooks.md` describes the requests.
//!
//! Builds never wait for this: they leave a notice in the history's outbox, as part of the commit that ends
//! them, and one task sends what lies there. So a notice outlives a restart; it may come twice (its id is the
//! same then), and out of order.
//!
//! A new event is an `OutboxKind` (`history/outbox.rs`), left in the commit that it tells of, with its form in
//! `body` and `chat`.

mod body;
mod chat;
mod signature;

use std::time::{Duration, Instant};

use chrono::Utc;
use image_manager_proto::v1;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use tokio_util::sync::CancellationToken;

pub use signature::{Secret, SecretError};

use crate::clock;
use crate::history::{HistoryError, OutboxEntry, OutboxKind};
use crate::lifecycle::Manager;
use crate::lifecycle::metrics::Delivery;
use crate::untrusted::json;

/// How often it is looked what is to be sent.
const LOOK: Duration = Duration::from_secs(1);
/// The same after the history could not be read.
const PAUSE: Duration = Duration::from_secs(30);
/// Most notices that one look takes.
const AT_ONCE: u32 = 20;
/// What the receiver may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Most of an answer's body that is read, in bytes; only for a test.
const BODY: usize = 2000;
/// Pause before the second try; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);
/// After this long a notice is given up, but not before it was sent so often: a clock that is set forward says nothing of
/// the receiver.
const PATIENCE: Duration = Duration::from_hours(24);
const LEAST_TRIES: u32 = 10;

/// How the body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For programs: a summary of the build.
    Json,
    /// `{"text": "..."}`, as the incoming webhooks of chat programs take it.
    Chat,
    /// What programs get, in the envelope of CloudEvents 1.0.
    CloudEvents,
}

impl Format {
    /// The type of the body.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json | Self::Chat => "application/json",
            Self::CloudEvents => "application/cloudevents+json",
        }
    }
}

/// What a receiver answered to a test.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// How long it took.
    pub took: Duration,
    /// The beginning of its body.
    pub body: Vec<u8>,
}

/// The webhook cannot be used as it was given. Its address is not told: it may hold a secret.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// It is no address.
    #[error(
        "--webhook-url: expected http:// or https:// with a host, such as https://hooks.example.org/images"
    )]
    Address,
    /// The client cannot be made.
    #[error("--webhook-url: {0}")]
    Client(reqwest::Error),
}

/// Sends notices to one address.
#[derive(Clone)]
pub struct Webhook {
    client: Client,
    /// Chat programs put a secret into it.
    address: SecretString,
    secret: Option<Secret>,
    format: Format,
    /// Beginning of the links to pages, without a slash at its end.
    public_url: String,
}

impl Webhook {
    /// A webhook that is told in `format`; links begin with `public_url`.
    pub fn new(
        address: SecretString,
        secret: Option<Secret>,
        format: Format,
        public_url: &str,
    ) -> Result<Self, WebhookError> {
        let url = Url::parse(address.expose_secret()).map_err(|_| WebhookError::Address)?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(WebhookError::Address);
        }
        let client = Client::builder()
            .timeout(ANSWER)
            .redirect(Policy::none())
            .user_agent(concat!("image-manager/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| WebhookError::Client(error.without_url()))?;
        Ok(Self { client, address, secret, format, public_url: public_url.trim_end_matches('/').to_owned() })
    }

    /// Sends what lies in the outbox, until `stop`.
    pub async fn run(self, manager: Manager, stop: CancellationToken) {
        let work = async {
            loop {
                let pause = match self.send_due(&manager).await {
                    Ok(()) => LOOK,
                    Err(error) => {
                        tracing::error!("webhook: {error}");
                        PAUSE
                    }
                };
                tokio::time::sleep(pause).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    async fn send_due(&self, manager: &Manager) -> Result<(), HistoryError> {
        let now = clock::now().timestamp_millis();
        for notice in manager.history().due_notices(now, millis(LONGEST_PAUSE), AT_ONCE).await? {
            let outcome = match self.send(manager, &notice).await? {
                Ok(()) => {
                    manager.history().notice_done(notice.id).await?;
                    Delivery::Delivered
                }
                Err(why) => self.not_taken(manager, &notice, &why).await?,
            };
            manager.metrics().delivery(outcome);
        }
        Ok(())
    }

    /// One request. The inner error says why the receiver has not taken it.
    async fn send(
        &self,
        manager: &Manager,
        notice: &OutboxEntry,
    ) -> Result<Result<(), String>, HistoryError> {
        let build = match &notice.kind {
            OutboxKind::SchedulePaused { .. } | OutboxKind::ImageChanged(_) | OutboxKind::Test => None,
            OutboxKind::BuildEnded { build_id } => match manager.history().build(build_id).await {
                Ok(build) => Some(build),
                Err(HistoryError::NoBuild(_)) => None,
                Err(error) => return Err(error),
            },
        };
        // The answer's body is of no interest, and not read.
        Ok(match self.request(notice, build.as_ref()).send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(format!("it answered {}", answer.status())),
            Err(error) => Err(in_full(&error.without_url())),
        })
    }

    fn request(&self, notice: &OutboxEntry, build: Option<&v1::Build>) -> RequestBuilder {
        let body = json::compact(&body::body(notice, build, &self.public_url, self.format));
        // By the real clock: the receiver compares it with its own.
        let time = Utc::now().timestamp();
        let request = self
            .client
            .post(self.address.expose_secret())
            .header(CONTENT_TYPE, HeaderValue::from_static(self.format.content_type()))
            .header("image-manager-event", body::event(notice))
            .header("image-manager-delivery", notice.id)
            .header("image-manager-timestamp", time);
        let request = match &self.secret {
            Some(secret) => request.header("image-manager-signature", secret.sign(time, body.as_bytes())),
            None => request,
        };
        request.body(body)
    }

    /// Sends one notice that nothing has happened, as others are sent, and once.
    ///
    /// # Errors
    /// Why the receiver could not be asked.
    pub async fn test(&self) -> Result<Answer, String> {
        let now = Utc::now().timestamp_millis();
        // An id that no notice of the outbox has, and no other test: receivers leave out what they had before.
        let notice = OutboxEntry {
            id: now,
            schedule: String::new(),
            kind: OutboxKind::Test,
            created_at: now,
            tries: 0,
        };
        let began = Instant::now();
        let told = |error: reqwest::Error| in_full(&error.without_url());
        let mut answer = self.request(&notice, None).send().await.map_err(told)?;
        let (status, took) = (answer.status(), began.elapsed());
        let mut body = Vec::new();
        while body.len() < BODY {
            let Some(piece) = answer.chunk().await.map_err(told)? else { break };
            body.extend_from_slice(&piece);
        }
        body.truncate(BODY);
        Ok(Answer { status, took, body })
    }

    async fn not_taken(
        &self,
        manager: &Manager,
        notice: &OutboxEntry,
        why: &str,
    ) -> Result<Delivery, HistoryError> {
        let now = clock::now().timestamp_millis();
        let tries = notice.tries.saturating_add(1);
        let (id, schedule) = (notice.id, &notice.schedule);
        if is_given_up(now.saturating_sub(notice.created_at), tries) {
            tracing::error!(notice = id, schedule, tries, "a notice was dropped after a day: {why}");
            manager.history().notice_done(id).await?;
            return Ok(Delivery::GivenUp);
        }
        let pause = pause_after(tries);
        tracing::warn!(notice = id, schedule, tries, ?pause, "the webhook did not accept a notice: {why}");
        manager.history().notice_again(id, now.saturating_add(millis(pause))).await?;
        Ok(Delivery::Retried)
    }
}

/// Whether a notice of this age, in milliseconds, is not sent again after so many tries.
fn is_given_up(age: i64, tries: u32) -> bool {
    age > millis(PATIENCE) && tries >= LEAST_TRIES
}

/// Doubles with each try.
fn pause_after(tries: u32) -> Duration {
    clock::doubled(FIRST_PAUSE, tries, LONGEST_PAUSE)
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// An error with what caused it: reqwest's own text stops at "error sending request".
fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let pauses: Vec<u64> = [1, 2, 3, 10, 11, 40].map(|tries| pause_after(tries).as_secs()).into();
        assert_eq!(pauses, [1, 2, 4, 512, 600, 600]);
    }

    #[test]
    fn a_notice_is_given_up_after_a_day_and_not_because_the_clock_was_set_forward() {
        let day = millis(PATIENCE);
        let given_up = [(day, 150), (day + 1, 1), (day + 1, 9), (day + 1, 10), (i64::MAX, 150), (-1, 150)];
        let given_up = given_up.map(|(age, tries)| is_given_up(age, tries));
        assert_eq!(given_up, [false, false, false, true, true, false]);
    }

    #[test]
    fn only_addresses_of_the_web_are_taken() {
        // reqwest needs the provider that main installs.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let made = |address: &str| Webhook::new(address.to_owned().into(), None, Format::Json, "http://h/");
        for wrong in ["", "hooks.example.org", "ftp://x/", "file:///etc/passwd", "http://"] {
            let error = made(wrong).err().unwrap_or_else(|| panic!("{wrong} was taken")).to_string();
            assert!(error.contains("--webhook-url") && error.contains("https://"), "{error}");
        }
        let webhook = made("https://hooks.example.org/T0KEN").unwrap();
        assert_eq!(webhook.public_url, "http://h");
    }
}
