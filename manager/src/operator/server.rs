//! The operator port: gRPC and HTTP together.

use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use image_manager_proto::v1::image_manager_server::ImageManagerServer;
use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;

use super::access::{ApiToken, BearerCheck};
use super::control::Control;
use super::door;
use super::guard::{self, Guard, is_grpc};
use super::metrics;
use super::web::{self, Web};
use crate::lifecycle::Manager;

/// Longest request, in bytes.
const REQUEST_LIMIT: usize = 1 << 20;
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
    /// The token that must be brought, when there is one.
    pub token: Option<ApiToken>,
}

/// Serves the operator port until `stop`.
pub async fn serve(
    operator: Operator,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<(), OperatorError> {
    let guard = Guard { token: operator.token.is_some() };
    let web = Web::new(operator.manager.clone(), operator.token.clone(), stop.clone());
    let metrics = metrics::routes(operator.manager.clone(), operator.token.clone());
    let check = BearerCheck(operator.token);
    let control = ImageManagerServer::new(Control { manager: operator.manager })
        .max_decoding_message_size(REQUEST_LIMIT);
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<ImageManagerServer<Control>>().await;
    let descriptions = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(image_manager_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // An explicit fallback: tonic's own answers 200 with grpc-status 12 to everything, web pages included.
    let pages =
        web::pages(web).route("/healthz", get(|| async { "ok\n" })).merge(metrics).fallback(not_found);
    let routes = Routes::from(pages)
        .add_service(InterceptedService::new(control, check.clone()))
        .add_service(InterceptedService::new(descriptions().build_v1()?, check.clone()))
        .add_service(InterceptedService::new(descriptions().build_v1alpha()?, check))
        .add_service(health);
    let routes = Routes::from(routes.into_axum_router().layer(from_fn_with_state(guard, guard::guard)));
    let ended = stop.clone();
    let incoming = ReceiverStream::new(door::receive(listener, stop.clone()));
    let server = Server::builder()
        .accept_http1(true)
        .http2_keepalive_interval(Some(PING))
        .http2_keepalive_timeout(Some(PONG))
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, async move {
            ended.cancelled().await;
        });
    tokio::select! {
        result = server => Ok(result?),
        () = async { stop.cancelled().await; tokio::time::sleep(GRACE).await } => Ok(()),
    }
}

async fn not_found(request: axum::extract::Request) -> axum::response::Response {
    use axum::response::IntoResponse as _;
    if is_grpc(request.headers()) {
        return tonic::Status::unimplemented(format!("no such method: {}", request.uri().path())).into_http();
    }
    (
        StatusCode::NOT_FOUND,
        "there is nothing here; the pages begin at /, and gRPC reflection lists the services\n",
    )
        .into_response()
}
