//! The agents' port: connections are few, speak TLS soon, and show a token soon or are ended.
//!
//! ```text
//!  TCP ──> a place among the connections ──> TLS ──> HTTP/2 ──> a token ──> attached
//!              │ none: whoever has waited      │ handshake        │
//!              │ longest without a token goes  │ seconds          │ hello + some seconds
//!              v                               v                  v
//!            closed                          closed             closed
//! ```

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::refusals::{RefusalLog, Refused, SUM_UP};
use crate::connections::{Acceptor, Admitted, Connections};

/// Connections that have shown TLS and wait to be served.
const WAITING: usize = 16;

/// What bounds connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Most that are open at once.
    pub(super) connections: usize,
    /// How long a TLS handshake may take.
    pub(super) handshake: Duration,
    /// How long a connection may be open with nobody attached by it.
    pub(super) idle: Duration,
}

/// What is known of a connection: how many are attached by it.
type Attached = AtomicUsize;

/// An open connection, as the service sees it.
#[derive(Clone)]
pub(super) struct OpenConnection {
    /// Who it is.
    pub(super) peer: SocketAddr,
    attached: Arc<Attached>,
}

/// While this is held the connection may stay.
pub(super) struct AttachedConnection(Arc<Attached>);

impl OpenConnection {
    /// Somebody is attached by this connection.
    pub(super) fn welcome(&self) -> AttachedConnection {
        self.attached.fetch_add(1, Ordering::Relaxed);
        AttachedConnection(Arc::clone(&self.attached))
    }
}

impl Drop for AttachedConnection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What all connections share.
struct Port {
    bounds: Bounds,
    refusals: Arc<RefusalLog>,
    connections: Arc<Connections<Attached>>,
}

/// Takes connections until `stop`. Those that have come through TLS are in the channel that is returned.
pub(super) fn receive(
    listener: TcpListener,
    bounds: Bounds,
    refusals: Arc<RefusalLog>,
    tls: TlsAcceptor,
    stop: CancellationToken,
) -> mpsc::Receiver<io::Result<Connection>> {
    let (admitted, receiver) = mpsc::channel(WAITING);
    let port = Arc::new(Port { bounds, refusals, connections: Connections::new(bounds.connections) });
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = port.take_all(listener, &tls, &admitted) => {}
        }
        port.refusals.sum_up(true);
    });
    receiver
}

impl Port {
    async fn take_all(
        self: &Arc<Self>,
        listener: TcpListener,
        tls: &TlsAcceptor,
        admitted: &mpsc::Sender<io::Result<Connection>>,
    ) {
        let mut acceptor = Acceptor::new(listener, "the gateway");
        let mut sums = tokio::time::interval(SUM_UP);
        loop {
            let (stream, peer) = tokio::select! {
                accepted = acceptor.accept() => accepted,
                _ = sums.tick() => {
                    self.refusals.sum_up(false);
                    continue;
                }
            };
            if let Some(place) = self.admit(peer) {
                tokio::spawn(shake_hands(
                    Arc::clone(self),
                    place,
                    peer,
                    stream,
                    tls.clone(),
                    admitted.clone(),
                ));
            }
        }
    }

    /// Gives a connection a place; when there is none, that of the one that has waited longest without a token.
    fn admit(&self, peer: SocketAddr) -> Option<Admitted<Attached>> {
        let without_token = |attached: &Attached| (attached.load(Ordering::Relaxed) == 0).then_some(());
        let admitted = self.connections.admit(Attached::new(0), without_token);
        match &admitted {
            Some(admitted) if admitted.has_evicted() => self.refusals.note(Refused::Crowd, None, ""),
            Some(_) => {}
            None => self.refusals.note(Refused::Crowd, Some(peer), ""),
        }
        admitted
    }
}

async fn shake_hands(
    port: Arc<Port>,
    place: Admitted<Attached>,
    peer: SocketAddr,
    stream: TcpStream,
    tls: TlsAcceptor,
    admitted: mpsc::Sender<io::Result<Connection>>,
) {
    // Small messages both ways.
    let _ = stream.set_nodelay(true);
    let shaken = tokio::select! {
        () = place.end().cancelled() => return,
        shaken = tokio::time::timeout(port.bounds.handshake, tls.accept(stream)) => shaken,
    };
    match shaken {
        Ok(Ok(stream)) => {
            let leave = Box::pin(leave(&place, port.bounds.idle));
            // Fails only when nobody serves any more.
            let _ = admitted.send(Ok(Connection { stream, leave, gone: false, peer, place })).await;
        }
        Ok(Err(error)) => port.refusals.note(Refused::Tls, Some(peer), &error.to_string()),
        Err(_) => port.refusals.note(Refused::Tls, Some(peer), "no handshake in time"),
    }
}

/// Ends when the connection must.
fn leave(place: &Admitted<Attached>, idle: Duration) -> impl Future<Output = ()> + Send + use<> {
    let (end, attached) = (place.end().clone(), Arc::clone(place.state()));
    async move {
        loop {
            tokio::select! {
                () = end.cancelled() => return,
                () = tokio::time::sleep(idle) => if attached.load(Ordering::Relaxed) == 0 { return },
            }
        }
    }
}

/// A connection that has come through TLS.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    leave: Pin<Box<dyn Future<Output = ()> + Send>>,
    gone: bool,
    peer: SocketAddr,
    place: Admitted<Attached>,
}

impl Connection {
    fn must_leave(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.gone = self.gone || self.leave.as_mut().poll(context).is_ready();
        if self.gone {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "nobody attached over this connection in time",
            ));
        }
        Ok(())
    }
}

impl Connected for Connection {
    type ConnectInfo = OpenConnection;

    fn connect_info(&self) -> OpenConnection {
        OpenConnection { peer: self.peer, attached: Arc::clone(self.place.state()) }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.must_leave(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.must_leave(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.must_leave(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.must_leave(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
