//! The operator port: connections are few, and say something soon or are ended. That is before any token, so
//! whoever reaches the port cannot take the manager's file descriptors.
//!
//! When all places are taken, whoever brought a wrong token goes first, then whoever has been answered nothing, then
//! whoever was answered longest ago. An open stream is answered at least as often as it is pinged, so those who only
//! hold a place go before it.
//!
//! Whose a connection of this host is, the kernel is asked once, when a request needs to know.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OnceCell, mpsc};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::access::socket_owner;
use crate::connections::{Acceptor, Admitted, Connections, LogThrottle};

/// Most connections that are open at once.
const PLACES: usize = 512;
/// How long a connection may be silent before its first byte.
const FIRST_BYTE: Duration = Duration::from_secs(10);
/// Connections that have said something and wait to be served.
const WAITING: usize = 16;
/// Most that is read of a connection before it is answered something: a request's head and a form are far less, and
/// HTTP/2 answers as it reads.
const UNANSWERED: usize = 192 * 1024;
/// How long a connection that is to end has for its last answer.
const LAST_ANSWER: Duration = Duration::from_millis(300);

/// What is known of an open connection.
struct Standing {
    /// The connections' clock.
    opened: Instant,
    /// When something was last written to it, in milliseconds of that clock; 0 is never.
    answered: AtomicU64,
    /// Whether it brought a wrong token.
    suspect: AtomicBool,
}

impl Standing {
    fn answered(&self) {
        let now = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.answered.store(now.max(1), Ordering::Relaxed);
    }

    /// Who gives way first: whoever brought a wrong token, then whoever was answered nothing, or longest ago.
    fn rank(&self) -> (bool, u64) {
        (!self.suspect.load(Ordering::Relaxed), self.answered.load(Ordering::Relaxed))
    }
}

/// An open connection, as whoever answers its requests sees it.
#[derive(Clone)]
pub(super) struct OpenConnection {
    /// The other end's address.
    pub(super) peer: SocketAddr,
    /// The two ends; `None` when the system does not tell.
    ends: Option<socket_owner::Ends>,
    owner: Arc<OnceCell<Option<u32>>>,
    standing: Arc<Standing>,
    end: CancellationToken,
}

impl OpenConnection {
    /// The account on this host that the other end belongs to; `None` when it cannot be told.
    pub(super) async fn owner(&self) -> Option<u32> {
        let ends = self.ends?;
        // Not kept when it could not be told: the next request may have better luck.
        let asked = || async { socket_owner::of(ends).await.map(Some).ok_or(()) };
        self.owner.get_or_try_init(asked).await.ok().copied().flatten()
    }

    /// The same for whoever brought a wrong token: when many are looked up it is left open.
    pub(super) async fn owner_at_leisure(&self) -> Option<u32> {
        match self.owner.get() {
            Some(known) => *known,
            None => socket_owner::of_at_leisure(self.ends?).await,
        }
    }

    /// It brought a wrong token: it goes first when there is a crowd.
    pub(super) fn suspect(&self) {
        self.standing.suspect.store(true, Ordering::Relaxed);
    }

    /// Ends the connection once it has been answered.
    pub(super) fn end_soon(&self) {
        let end = self.end.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LAST_ANSWER).await;
            end.cancel();
        });
    }
}

/// Takes connections until `stop`. Those that have said something are in the channel that is returned.
pub(super) fn receive(
    listener: TcpListener,
    stop: CancellationToken,
) -> mpsc::Receiver<io::Result<Connection>> {
    let (admitted, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = take_all(listener, &admitted) => {}
        }
    });
    receiver
}

async fn take_all(listener: TcpListener, admitted: &mpsc::Sender<io::Result<Connection>>) {
    let mut acceptor = Acceptor::new(listener, "the operator port");
    let connections = Connections::new(PLACES);
    let (opened, mut told) = (Instant::now(), LogThrottle::default());
    loop {
        let (stream, peer) = acceptor.accept().await;
        let standing = Standing { opened, answered: AtomicU64::new(0), suspect: AtomicBool::new(false) };
        // Everybody has a rank, so somebody gives way.
        let Some(place) = connections.admit(standing, |standing| Some(standing.rank())) else { continue };
        if place.has_evicted() && told.is_due() {
            tracing::warn!(
                "more than {PLACES} connections at the operator port: those that sent a wrong token, \
                 were answered nothing, or were answered longest ago are ended"
            );
        }
        tokio::spawn(first_byte(place, stream, peer, admitted.clone()));
    }
}

async fn first_byte(
    place: Admitted<Standing>,
    stream: TcpStream,
    peer: SocketAddr,
    admitted: mpsc::Sender<io::Result<Connection>>,
) {
    // Without it, the end of an answer waits 40 ms for the client's acknowledgement of what came before.
    let _ = stream.set_nodelay(true);
    let mut byte = [0];
    let said = tokio::select! {
        () = place.end().cancelled() => return,
        said = tokio::time::timeout(FIRST_BYTE, stream.peek(&mut byte)) => said,
    };
    if !matches!(said, Ok(Ok(1..))) {
        tracing::debug!(%peer, "ended a connection at the operator port that sent nothing");
        return;
    }
    let end = place.end().clone();
    let open = OpenConnection {
        peer,
        ends: ends(&stream, peer),
        owner: Arc::default(),
        standing: Arc::clone(place.state()),
        end: end.clone(),
    };
    let leave = Box::pin(end.clone().cancelled_owned());
    tokio::select! {
        () = end.cancelled() => {}
        // Fails only when nobody serves any more.
        _ = admitted.send(Ok(Connection { stream, leave, gone: false, unanswered: 0, open, place })) => {}
    }
}

/// What the kernel is asked by.
fn ends(stream: &TcpStream, peer: SocketAddr) -> Option<socket_owner::Ends> {
    let here = stream.local_addr().ok()?;
    let inode = nix::sys::stat::fstat(stream.as_fd()).ok()?.st_ino;
    Some(socket_owner::Ends { peer, here, inode })
}

/// A connection that has said something.
pub(super) struct Connection {
    stream: TcpStream,
    leave: Pin<Box<WaitForCancellationFutureOwned>>,
    gone: bool,
    /// Bytes that were read since something was written.
    unanswered: usize,
    open: OpenConnection,
    place: Admitted<Standing>,
}

impl Connection {
    fn must_leave(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.gone = self.gone || self.leave.as_mut().poll(context).is_ready();
        if self.gone {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "its place was given to another"));
        }
        if self.unanswered > UNANSWERED {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "it sends too much before an answer",
            ));
        }
        Ok(())
    }

    fn answered(&mut self, written: &Poll<io::Result<usize>>) {
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.unanswered = 0;
            self.place.state().answered();
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = OpenConnection;

    fn connect_info(&self) -> OpenConnection {
        self.open.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.must_leave(context)?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.unanswered += buffer.filled().len().saturating_sub(before);
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.must_leave(context)?;
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.answered(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.must_leave(context)?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.answered(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
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
