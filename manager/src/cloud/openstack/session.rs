//! Requests to a cloud's services: authenticated, spaced out, bounded in time and size, and repeated where
//! that is safe.
//!
//! | what went wrong | repeated |
//! | --- | --- |
//! | 401 | once, with a new token |
//! | 429, 503 | always: the service did not take the request |
//! | not connected | always: the request did not leave |
//! | 500, 502, 504, no answer | only reading and deleting |

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, RequestBuilder, Response, Url};
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use super::answers::{ApiError, distrust, message_of, retry_after, with_reasons};
use super::client::client;
use super::config::CloudConfig;
use super::identity::{Keystone, untrusted};
use super::pace::{Pace, back_off};
use super::services::{self, Described, Microversion, Service};
use crate::cloud::{CloudError, Trouble, incidents};

/// Longest answer that is read, in bytes; a page of a hundred images has some 300 KiB.
const LARGEST: usize = 8 << 20;
/// How often a 500 is asked again: it seldom goes away.
const BROKEN: u32 = 3;

/// How long an answer is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestTimeouts {
    /// For one answer.
    each: Duration,
    /// Until the last repetition begins.
    total: Duration,
}

impl RequestTimeouts {
    /// Sits out a service that is down for a minute.
    pub(super) const LONG: Self = Self { each: Duration::from_mins(1), total: Duration::from_mins(2) };
    /// Only sits out a lost packet: for whether there is an answer at all.
    pub(super) const BRIEF: Self = Self { each: Duration::from_secs(10), total: Duration::from_secs(15) };
    /// For questions that will be asked again anyway.
    pub(super) const SHORT: Self = Self { each: Duration::from_secs(15), total: Duration::ZERO };
}

/// A request to be made.
#[derive(Debug, Clone)]
pub(super) struct Call {
    service: Service,
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    json: Option<Value>,
    content_type: &'static str,
    timeouts: RequestTimeouts,
    /// Whether a repetition does no harm.
    repeatable: bool,
}

impl Call {
    fn new(service: Service, method: Method, path: impl Into<String>, json: Option<Value>) -> Self {
        let repeatable = matches!(method, Method::GET | Method::DELETE);
        let (path, query, timeouts) = (path.into(), Vec::new(), RequestTimeouts::LONG);
        Self { service, method, path, query, json, content_type: "application/json", timeouts, repeatable }
    }

    pub(super) fn get(service: Service, path: impl Into<String>) -> Self {
        Self::new(service, Method::GET, path, None)
    }

    pub(super) fn delete(service: Service, path: impl Into<String>) -> Self {
        Self::new(service, Method::DELETE, path, None)
    }

    pub(super) fn post(service: Service, path: impl Into<String>, json: Value) -> Self {
        Self::new(service, Method::POST, path, Some(json))
    }

    /// A JSON patch as Glance takes it.
    pub(super) fn patch(service: Service, path: impl Into<String>, json: Value) -> Self {
        let call = Self::new(service, Method::PATCH, path, Some(json));
        Self { content_type: "application/openstack-images-v2.1-json-patch", ..call }
    }

    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(super) fn timeouts(self, timeouts: RequestTimeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// Says that a repetition does no harm.
    pub(super) fn repeatable(self) -> Self {
        Self { repeatable: true, ..self }
    }
}

/// A cloud's services as one user sees them.
pub(super) struct Session {
    config: Arc<CloudConfig>,
    pub(super) http: Client,
    pub(super) keystone: Keystone,
    pub(super) pace: Pace,
    compute: OnceCell<Described>,
    volume: OnceCell<Described>,
}

impl Session {
    /// Reads certificates; asks nothing yet.
    pub(super) fn new(config: CloudConfig) -> Result<Self, CloudError> {
        let config = Arc::new(config);
        let http = client(&config)?;
        let keystone = Keystone::new(Arc::clone(&config), http.clone());
        let (pace, compute, volume) = (Pace::default(), OnceCell::new(), OnceCell::new());
        Ok(Self { config, http, keystone, pace, compute, volume })
    }

    pub(super) fn config(&self) -> &CloudConfig {
        &self.config
    }

    /// The project we work in. Authenticates where that has not been done. An error too where it is not clear which
    /// region is meant.
    pub(super) async fn project(&self) -> Result<String, CloudError> {
        let token =
            self.persist("authenticating", RequestTimeouts::LONG, true, || self.keystone.token()).await;
        let token = token.map_err(|error| error.when("authenticating"))?;
        self.keystone.choose_region(&token)?;
        Ok(token.project_id.clone())
    }

    /// Where a service is.
    pub(super) async fn endpoint(&self, service: Service) -> Result<Url, ApiError> {
        self.keystone.endpoint(service.types()).await
    }

    /// Whether the cloud has a service at all.
    pub(super) async fn offers(&self, service: Service) -> Result<bool, ApiError> {
        self.persist("authenticating", RequestTimeouts::LONG, true, || self.keystone.offers(service.types()))
            .await
    }

    /// Makes a request and reads the answer; an empty one is null.
    pub(super) async fn call(&self, call: &Call) -> Result<Value, ApiError> {
        let what = format!("{} {}", call.method, call.path);
        self.persist(&what, call.timeouts, call.repeatable, || self.attempt(call)).await
    }

    /// Tries until there is an answer or the time is up.
    pub(super) async fn persist<T, F: Future<Output = Result<T, ApiError>>>(
        &self,
        what: &str,
        timeouts: RequestTimeouts,
        repeatable: bool,
        attempt: impl Fn() -> F,
    ) -> Result<T, ApiError> {
        let began = Instant::now();
        let (mut number, mut renewed, mut doubt) = (0, false, false);
        loop {
            let error = match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(error) if doubt => error.in_doubt(),
                Err(error) => error,
            };
            // What is not repeatable is made again only where its service did not take it.
            doubt = repeatable && !error.had_no_effect();
            if error.is(401) && !renewed {
                // The attempt has forgotten the token: the next one gets a new one.
                renewed = true;
                incidents::note(&format!("{what}: the token was refused; authenticated again"));
                continue;
            }
            let Some(wait) = wait_before(&error, repeatable, number) else { return Err(error) };
            if began.elapsed() + wait > timeouts.total {
                return Err(error);
            }
            incidents::note(&format!("{what}: {}; asked again", error.briefly()));
            sleep(wait).await;
            number += 1;
        }
    }

    async fn attempt(&self, call: &Call) -> Result<Value, ApiError> {
        let url = self.address(call.service, &call.path).await?;
        let version = match call.service {
            Service::Compute => self.microversion().await?,
            _ => None,
        };
        let mut request = self.http.request(call.method.clone(), url).query(&call.query);
        if let Some(version) = version {
            let number = version.number();
            request = request
                .header("openstack-api-version", format!("compute {number}"))
                .header("x-openstack-nova-api-version", number);
        }
        if let Some(json) = &call.json {
            request = request.header(CONTENT_TYPE, call.content_type).body(json.to_string());
        }
        self.send(request.timeout(call.timeouts.each)).await
    }

    /// Sends a request with our token, and reads the answer.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Value, ApiError> {
        parse(&read(self.answer(request).await?).await?)
    }

    /// Sends a request with our token. One that is refused for it makes the session forget the token. The answer's body is
    /// still to be read.
    pub(super) async fn answer(&self, request: RequestBuilder) -> Result<Response, ApiError> {
        self.pace.turn().await;
        let token = self.keystone.token().await?;
        let request = request.header("x-auth-token", token.header.clone());
        let response = request.send().await.map_err(|error| self.not_sent(&error))?;
        let status = response.status().as_u16();
        if status == 401 {
            self.keystone.forget(&token).await;
        }
        if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
    }

    /// Something to be sent to a service by the caller's own rules, without any time limit.
    pub(super) async fn request(
        &self,
        method: Method,
        service: Service,
        path: &str,
    ) -> Result<RequestBuilder, ApiError> {
        Ok(self.http.request(method, self.address(service, path).await?))
    }

    /// The compute API's version that is asked for.
    pub(super) async fn microversion(&self) -> Result<Option<Microversion>, ApiError> {
        Ok(self.described(Service::Compute).await?.microversion)
    }

    /// Where `path` of a service is: always below the catalog's address.
    pub(super) async fn address(&self, service: Service, path: &str) -> Result<Url, ApiError> {
        let endpoint = self.endpoint(service).await?;
        let project = self.keystone.token().await?.project_id.clone();
        let version = match service.version() {
            Some(version) => Some(version.to_owned()),
            None => self.described(service).await?.version.clone(),
        };
        Ok(service.address(&endpoint, version.as_deref(), &project, path))
    }

    /// What a service's version document says, asked for once. The links in it are not followed.
    async fn described(&self, service: Service) -> Result<&Described, ApiError> {
        let known = if service == Service::Compute { &self.compute } else { &self.volume };
        let ask = || async {
            let endpoint = self.endpoint(service).await?;
            if service == Service::Volume && services::is_versioned(&endpoint) {
                return Ok(Described::default());
            }
            let project = self.keystone.token().await?.project_id.clone();
            let url = Service::description(&endpoint, &project);
            Ok(Described::read(service, &self.description(url).await?))
        };
        known.get_or_try_init(ask).await
    }

    /// A version document; null where the address has none, or a page for people.
    async fn description(&self, url: Url) -> Result<Value, ApiError> {
        self.pace.turn().await;
        let token = self.keystone.token().await?;
        let request = self
            .http
            .get(url)
            .timeout(RequestTimeouts::LONG.each)
            .header("x-auth-token", token.header.clone());
        let response = request.send().await.map_err(|error| self.not_sent(&error))?;
        match response.status().as_u16() {
            200..=300 => Ok(serde_json::from_slice(&read(response).await?).unwrap_or_default()),
            401 => {
                self.keystone.forget(&token).await;
                Err(refusal(response).await)
            }
            429 | 500.. => Err(refusal(response).await),
            _ => Ok(Value::Null),
        }
    }

    fn not_sent(&self, error: &reqwest::Error) -> ApiError {
        let why = with_reasons(error);
        match (error.url(), distrust(error)) {
            (Some(url), Some(why)) => untrusted(url, &why, &self.config.source).into(),
            _ if error.is_connect() => ApiError::Unreachable(why),
            _ if error.is_builder() => CloudError::new(Trouble::Configuration, why).into(),
            _ => ApiError::Lost(why),
        }
    }
}

/// How long to wait before a request is made again; `None`: it is not.
fn wait_before(error: &ApiError, repeatable: bool, number: u32) -> Option<Duration> {
    let (again, asked) = match error {
        ApiError::Refused { status: 429 | 503, retry_after, .. } => (true, *retry_after),
        ApiError::Refused { status: 500, .. } => (repeatable && number < BROKEN, None),
        ApiError::Refused { status: 502 | 504, .. } | ApiError::Lost(_) => (repeatable, None),
        ApiError::Unreachable(_) => (true, None),
        ApiError::Refused { .. } | ApiError::Known(_) => (false, None),
    };
    again.then(|| back_off(number, asked))
}

async fn refusal(response: Response) -> ApiError {
    let status = response.status().as_u16();
    let retry_after = retry_after(response.headers(), Utc::now());
    let id = response.headers().get("x-openstack-request-id").and_then(|id| id.to_str().ok());
    let request_id = id.unwrap_or_default().to_owned();
    // The status says enough where the words are lost.
    let body = read(response).await.unwrap_or_default();
    let message = message_of(&String::from_utf8_lossy(&body), status);
    ApiError::Refused { status, message, request_id, retry_after, in_doubt: false }
}

async fn read(mut response: Response) -> Result<Vec<u8>, ApiError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| ApiError::Lost(with_reasons(&error)))? {
        if body.len() + chunk.len() > LARGEST {
            let message = format!("an answer has more than {LARGEST} bytes");
            return Err(CloudError::new(Trouble::Unavailable, message).into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn parse(body: &[u8]) -> Result<Value, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Null);
    }
    serde_json::from_slice(body).map_err(|error| {
        CloudError::new(Trouble::Unavailable, format!("an answer is not JSON: {error}")).into()
    })
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "session_tls_tests.rs"]
mod tls_tests;
