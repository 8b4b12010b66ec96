//! One HTTP request, GET or HEAD, over a stream that is already connected. Redirects are not followed.

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// Largest body that is read.
const LARGEST_BODY: usize = 1 << 20;

/// What the server said.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

/// The request got no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error(transparent)]
    Connect(#[from] std::io::Error),
    #[error("no request can be made from the address: {0}")]
    Address(#[from] hyper::http::Error),
    #[error("no HTTP answer: {0}")]
    Talk(#[from] hyper::Error),
    #[error("the answer broke off: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
}

/// Sends a GET and reads the whole answer.
pub(crate) async fn get<S>(stream: S, host: &str, path: &str) -> Result<Response, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    exchange(stream, Method::GET, host, path).await
}

/// Sends a HEAD and reads the answer's status: whoever is asked hands out nothing, and nothing happens there.
pub(crate) async fn status<S>(stream: S, host: &str, path: &str) -> Result<StatusCode, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    Ok(exchange(stream, Method::HEAD, host, path).await?.status)
}

async fn exchange<S>(stream: S, method: Method, host: &str, path: &str) -> Result<Response, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let whole = method == Method::GET;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("image-manager-agent/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        if !whole {
            return Ok(Response { status, body: Vec::new() });
        }
        let body = Limited::new(response.into_body(), LARGEST_BODY).collect().await;
        let body = body.map_err(HttpError::Body)?.to_bytes().to_vec();
        Ok(Response { status, body })
    };
    // The connection is driven here and not by a task, so that a timeout around this ends all of it.
    tokio::pin!(connection, exchange);
    tokio::select! {
        done = &mut exchange => done,
        // The connection may end in the moment that the answer is complete.
        _ = &mut connection => exchange.await,
    }
}
