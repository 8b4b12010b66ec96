//! Lookups through the crate `openstack`, at the catalog's addresses only.
//!
//! For a service that it does not know yet, `osauth` below the crate asks for the version document, and from then on
//! sends requests, with the token, wherever a link in that document points. So it is told of the service first, as one
//! without a version document: what it knows then is the address that we made of the catalog's. A service it was not
//! told of has no address (see `Keystone`).

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openstack::Cloud;
use osauth::services::ServiceType;
use osauth::{Error as OsauthError, ErrorKind};
use tokio::time::timeout;
use tokio_stream::{Stream, StreamExt as _};

use super::answers::ApiError;
use super::services::Service;
use super::session::{RequestTimeouts, Session};
use crate::cloud::{CloudError, Trouble};

/// How long one lookup may take, all its pages together.
const TIMEOUT: Duration = Duration::from_mins(1);
/// Most entries of one list.
const MOST: usize = 10_000;

/// A service under the name by which the crate keeps its address, without a version document.
struct NamedService(&'static str);

impl ServiceType for NamedService {
    fn catalog_type(&self) -> &'static str {
        self.0
    }

    fn version_discovery_supported(&self) -> bool {
        false
    }
}

impl Session {
    /// Asks one service a question of the crate `openstack`, which must only read.
    pub(super) async fn ask<T, F>(
        &self,
        service: Service,
        question: impl Fn(Cloud) -> F,
    ) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, OsauthError>>,
    {
        // The crate does not tell an answer that was cut from one that is not this service's: once more tells.
        let unreadable = AtomicBool::new(false);
        self.persist("a lookup", RequestTimeouts::LONG, true, || async {
            self.pace.turn().await;
            let token = self.keystone.token().await?;
            let cloud = self.told(service).await?;
            let answer = timeout(TIMEOUT, question(cloud)).await;
            let error = match answer.map_err(|_| ApiError::Lost("no answer in time".to_owned()))? {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if error.to_string().contains("decoding") && unreadable.swap(true, Ordering::Relaxed) {
                return Err(no_answer(service).into());
            }
            let error = ApiError::from(error);
            if error.is(401) {
                self.keystone.forget(&token).await;
            }
            Err(error)
        })
        .await
    }

    /// The crate's view of the cloud, which knows this service only.
    async fn told(&self, service: Service) -> Result<Cloud, ApiError> {
        let address = self.address(service, "").await?;
        let kind = service.types().first().copied().unwrap_or_default();
        let session = osauth::Session::new_with_client(self.http.clone(), self.keystone.clone()).await?;
        let session = session.with_endpoint_override(NamedService(kind), address);
        session.get_endpoint(NamedService(kind), [""; 0]).await?;
        Ok(Cloud::from(session))
    }
}

fn no_answer(service: Service) -> CloudError {
    let kind = service.types().first().copied().unwrap_or_default();
    let message = format!(
        "the answer is not from a {kind} service: check the address of the {kind} service in the catalog"
    );
    CloudError::new(Trouble::Configuration, message)
}

/// All of a list. Services that know no pages answer each question for the next one with all of it.
pub(super) async fn whole<T>(
    list: impl Stream<Item = Result<T, OsauthError>>,
    id: impl Fn(&T) -> &str,
) -> Result<Vec<T>, OsauthError> {
    let mut list = pin!(list);
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    while let Some(item) = list.next().await {
        let item = item?;
        if !seen.insert(id(&item).to_owned()) {
            break;
        }
        found.push(item);
        if found.len() > MOST {
            return Err(OsauthError::new(
                ErrorKind::InvalidInput,
                format!("a list has more than {MOST} entries"),
            ));
        }
    }
    Ok(found)
}

#[cfg(test)]
#[path = "lookups_tests.rs"]
mod tests;
