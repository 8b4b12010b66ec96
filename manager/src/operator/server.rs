//! The operator port: gRPC and HTTP together.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use image_manager_proto::v1::image_manager_server::ImageManagerServer;
use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

use super::access::Access;
use super::control::Control;
use super::guard;
use super::listener;
use super::web::{self, Web};
use super::{gate, metrics, reflection};
use crate::lifecycle::Manager;
use crate::refusals::SUM_UP;

/// Longest message of a request, in bytes: names and ids.
const REQUEST_LIMIT: usize = 64 * 1024;
/// Requests that a connection may have open at once.
const REQUESTS: u32 = 16;
/// What may arrive of one request, and of all of a connection, before somebody has read it, in bytes.
const REQUEST_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 128 * 1024;
/// Longest list of headers, in bytes.
const HEADERS: u32 = 16 * 1024;
/// What is said where a path is not for a method.
const OTHER_METHOD: &str = "this method is not allowed here: the header Allow names those that are\n";
/// How long open streams may hold up the end.
const GRACE: std::time::Duration = std::time::Duration::from_secs(2);

/// How often a gRPC client is asked whether it is still there, and how long it may take to answer.
const PING: std::time::Duration = std::time::Duration::from_secs(30);
const PONG: std::time::Duration = std::time::Duration::from_secs(20);

/// The operator port cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// gRPC's transport failed.
    #[error("operator port: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The descriptions of the interfaces are broken.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// What the operator port serves.
pub struct Operator {
    /// The manager it speaks for.
    pub manager: Manager,
    /// Who is let in.
    pub access: Arc<Access>,
}

/// Serves the operator port until `stop`.
pub async fn serve(
    operator: Operator,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<(), OperatorError> {
    let Operator { manager, access } = operator;
    let refused = Arc::clone(&access);
    let web = Web::new(manager.clone(), Arc::clone(&access), stop.clone());
    let metrics = metrics::routes(manager.clone());
    let control = ImageManagerServer::new(Control { manager, access: Arc::clone(&access) })
        .max_decoding_message_size(REQUEST_LIMIT);
    tokio::spawn(sum_up(Arc::clone(&access), stop.clone()));
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<ImageManagerServer<Control>>().await;
    let descriptors = reflection::descriptors().map_err(tonic_reflection::server::Error::from)?;
    let descriptions = || {
        tonic_reflection::server::Builder::configure()
            .register_file_descriptor_set(descriptors.clone())
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // The pages have an explicit fallback: tonic's own answers 200 with grpc-status 12 to everything.
    let pages = web::pages(web).route("/healthz", get(|| async { "ok\n" })).merge(metrics);
    let pages =
        pages.method_not_allowed_fallback(|| async { (StatusCode::METHOD_NOT_ALLOWED, OTHER_METHOD) });
    let routes = Routes::from(pages)
        .add_service(control)
        .add_service(descriptions().build_v1()?.max_decoding_message_size(REQUEST_LIMIT))
        .add_service(descriptions().build_v1alpha()?.max_decoding_message_size(REQUEST_LIMIT))
        .add_service(health.max_decoding_message_size(REQUEST_LIMIT));
    let router = routes.into_axum_router();
    // The last one is asked first.
    let router = router.layer(from_fn_with_state(access, gate::gate)).layer(from_fn(guard::guard));
    let routes = Routes::from(router);
    let ended = stop.clone();
    let incoming = ReceiverStream::new(listener::receive(listener, stop.clone()));
    let server = Server::builder()
        .accept_http1(true)
        .http2_keepalive_interval(Some(PING))
        .http2_keepalive_timeout(Some(PONG))
        .max_concurrent_streams(REQUESTS)
        .initial_stream_window_size(REQUEST_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_header_list_size(HEADERS)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, async move {
            ended.cancelled().await;
        });
    let served = tokio::select! {
        result = server => Ok(result?),
        () = async { stop.cancelled().await; tokio::time::sleep(GRACE).await } => Ok(()),
    };
    refused.refusals.sum_up(true);
    served
}

/// Says now and then how many were refused.
async fn sum_up(access: Arc<Access>, stop: CancellationToken) {
    let mut sums = tokio::time::interval(SUM_UP);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = sums.tick() => access.refusals.sum_up(false),
        }
    }
}
