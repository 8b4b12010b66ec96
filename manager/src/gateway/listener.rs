//! The door itself: connections come in here, are few, speak TLS soon, and show a token soon or go.
//!
//! ```text
//!  TCP ──> a place among the connections ──> TLS ──> HTTP/2 ──> a token ──> attached
//!              │ none: whoever has waited      │ handshake        │
//!              │ longest without a token goes  │ seconds          │ hello + some seconds
//!              v                               v                  v
//!            closed                          closed             closed
//! ```

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// Connections that have shown TLS and wait to be served.
const WAITING: usize = 16;
/// Pause when the system gives no connection (no file descriptors, say).
const PAUSE: Duration = Duration::from_millis(100);

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

/// All open connections.
pub(super) struct Door {
    bounds: Bounds,
    refusals: Arc<RefusalLog>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    /// By number, so oldest first.
    visits: BTreeMap<u64, Visit>,
}

/// An open connection, as the door sees it.
struct Visit {
    end: CancellationToken,
    attached: Arc<AtomicUsize>,
}

/// An open connection's place. It is given back when this is dropped.
struct Seat {
    door: Arc<Door>,
    number: u64,
    end: CancellationToken,
    visitor: Visitor,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.door.open().visits.remove(&self.number);
    }
}

/// An open connection, as the service sees it.
#[derive(Clone)]
pub(super) struct Visitor {
    /// Who it is.
    pub(super) peer: SocketAddr,
    attached: Arc<AtomicUsize>,
}

/// While this is held the connection may stay.
pub(super) struct Welcomed(Arc<AtomicUsize>);

impl Visitor {
    /// Somebody is attached by this connection.
    pub(super) fn welcome(&self) -> Welcomed {
        self.attached.fetch_add(1, Ordering::Relaxed);
        Welcomed(Arc::clone(&self.attached))
    }
}

impl Drop for Welcomed {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Door {
    pub(super) fn new(bounds: Bounds, refusals: Arc<RefusalLog>) -> Arc<Self> {
        Arc::new(Self { bounds, refusals, open: Mutex::default() })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Whole even after a panic elsewhere: each change is a single step.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a connection a place; when there is none, that of the one that has waited longest without a token.
    fn enter(self: &Arc<Self>, peer: SocketAddr) -> Option<Seat> {
        let mut open = self.open();
        if open.visits.len() >= self.bounds.connections {
            let idle = open.visits.iter().find(|(_, visit)| visit.attached.load(Ordering::Relaxed) == 0);
            let idle = idle.map(|(number, _)| *number)?;
            if let Some(visit) = open.visits.remove(&idle) {
                visit.end.cancel();
            }
            self.refusals.note(Refused::Crowd, None, "");
        }
        let number = open.next;
        open.next += 1;
        let (end, attached) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        open.visits.insert(number, Visit { end: end.clone(), attached: Arc::clone(&attached) });
        Some(Seat { door: Arc::clone(self), number, end, visitor: Visitor { peer, attached } })
    }

    /// Takes connections until `stop`. Those that have come through TLS are in the channel that is returned.
    pub(super) fn receive(
        self: &Arc<Self>,
        listener: TcpListener,
        tls: TlsAcceptor,
        stop: CancellationToken,
    ) -> mpsc::Receiver<io::Result<Connection>> {
        let (admitted, receiver) = mpsc::channel(WAITING);
        let door = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = door.take_all(&listener, &tls, &admitted) => {}
            }
            door.refusals.sum_up(true);
        });
        receiver
    }

    async fn take_all(
        self: &Arc<Self>,
        listener: &TcpListener,
        tls: &TlsAcceptor,
        admitted: &mpsc::Sender<io::Result<Connection>>,
    ) {
        let mut sums = tokio::time::interval(SUM_UP);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = sums.tick() => {
                    self.refusals.sum_up(false);
                    continue;
                }
            };
            match accepted {
                Ok((stream, peer)) => match self.enter(peer) {
                    Some(seat) => {
                        tokio::spawn(shake_hands(seat, stream, tls.clone(), admitted.clone()));
                    }
                    None => self.refusals.note(Refused::Crowd, Some(peer), ""),
                },
                Err(error) => {
                    tracing::warn!("the gateway cannot take a connection: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn shake_hands(
    seat: Seat,
    stream: TcpStream,
    tls: TlsAcceptor,
    admitted: mpsc::Sender<io::Result<Connection>>,
) {
    let peer = Some(seat.visitor.peer);
    // Small messages both ways.
    let _ = stream.set_nodelay(true);
    let shaken = tokio::select! {
        () = seat.end.cancelled() => return,
        shaken = tokio::time::timeout(seat.door.bounds.handshake, tls.accept(stream)) => shaken,
    };
    match shaken {
        Ok(Ok(stream)) => {
            let connection = Connection { leave: Box::pin(leave(&seat)), gone: false, stream, seat };
            // Fails only when nobody serves any more.
            let _ = admitted.send(Ok(connection)).await;
        }
        Ok(Err(error)) => seat.door.refusals.note(Refused::Tls, peer, &error.to_string()),
        Err(_) => seat.door.refusals.note(Refused::Tls, peer, "no handshake in time"),
    }
}

/// Ends when the connection must.
fn leave(seat: &Seat) -> impl Future<Output = ()> + Send + use<> {
    let (end, attached, idle) = (seat.end.clone(), Arc::clone(&seat.visitor.attached), seat.door.bounds.idle);
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
    seat: Seat,
}

impl Connection {
    fn must_leave(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.gone = self.gone || self.leave.as_mut().poll(context).is_ready();
        if self.gone {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "nobody attached by this connection in time",
            ));
        }
        Ok(())
    }
}

impl Connected for Connection {
    type ConnectInfo = Visitor;

    fn connect_info(&self) -> Visitor {
        self.seat.visitor.clone()
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
