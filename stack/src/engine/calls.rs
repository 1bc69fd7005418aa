//! The socket calls. None blocks: what would is `WouldBlock`, or `InProgress` for a connect that has begun.

use core::net::SocketAddr;

use crate::error::SocketError;
use crate::socket::{Accepted, Datagram, How, OptName, RecvFlags, Result, SendFlags, Value};
use crate::time::Instant;
use crate::types::{Readiness, SocketId};

use super::Stack;

impl Stack {
    /// A TCP socket, not bound, not connected. `cookie` comes back in its wake-ups.
    ///
    /// # Errors
    /// `NoBuffers` when there are `max_sockets` already.
    pub fn tcp_socket(&mut self, cookie: u64) -> Result<SocketId> {
        let _ = cookie;
        Err(SocketError::NotSupported)
    }

    /// A UDP socket, not bound, not connected. `cookie` comes back in its wake-ups.
    ///
    /// # Errors
    /// `NoBuffers` when there are `max_sockets` already.
    pub fn udp_socket(&mut self, cookie: u64) -> Result<SocketId> {
        let _ = cookie;
        Err(SocketError::NotSupported)
    }

    /// Names the local end. The port must not be zero: the backing kernel socket has chosen it. Port
    /// conflicts are the kernel's to find; two sockets of the stack on the same address and port get
    /// `AddressInUse` when they begin to listen (TCP) or here (UDP).
    ///
    /// # Errors
    /// `Invalid` when bound already or the port is zero; `AddressNotAvailable` when the address is not ours.
    pub fn bind(&mut self, id: SocketId, local: SocketAddr) -> Result<()> {
        let _ = (id, local);
        Err(SocketError::BadSocket)
    }

    /// Begins to listen, or changes the backlog of a listener. At most `backlog + 1` connections wait in the
    /// accept queue, as in Linux.
    ///
    /// # Errors
    /// `Invalid` when it is connected or not bound; `AddressInUse`; `NotSupported` for UDP.
    pub fn listen(&mut self, id: SocketId, backlog: u32) -> Result<()> {
        let _ = (id, backlog);
        Err(SocketError::BadSocket)
    }

    /// Takes the oldest connection of a listener's queue. Its cookie is zero until
    /// [`set_cookie`](Stack::set_cookie); options are inherited from the listener.
    ///
    /// # Errors
    /// `WouldBlock`; `Invalid` when it does not listen; `NotSupported` for UDP.
    pub fn accept(&mut self, now: Instant, id: SocketId) -> Result<Accepted> {
        let _ = (now, id);
        Err(SocketError::BadSocket)
    }

    /// TCP: begins the handshake and answers `InProgress`; called again, `AlreadyConnecting`, then once `Ok`,
    /// then `IsConnected`, or the error it ended with. UDP: sets or (with an unspecified address) clears the
    /// peer. The local port must be bound; an unspecified local address is chosen by the route.
    ///
    /// # Errors
    /// `NotPermitted` when the policy denies the flow; `NetworkUnreachable`, `HostUnreachable`;
    /// `AddressNotAvailable` when the five-tuple is in use; `Invalid` when it is not bound.
    pub fn connect(&mut self, now: Instant, id: SocketId, remote: SocketAddr) -> Result<()> {
        let _ = (now, id, remote);
        Err(SocketError::BadSocket)
    }

    /// Sends up to `len` bytes on a stream, or one datagram to the connected peer. `source` is called with
    /// room in frames, one after the other, fills it and says how much it filled; when it fails, what was
    /// taken before counts and an error is answered only if that is nothing.
    ///
    /// # Errors
    /// `WouldBlock`, `NotConnected` (`BrokenPipe` on a stream, as Linux), the socket's error, the source's.
    pub fn send(
        &mut self,
        now: Instant,
        id: SocketId,
        len: usize,
        flags: SendFlags,
        source: &mut dyn FnMut(&mut [u8]) -> Result<usize>,
    ) -> Result<usize> {
        let _ = (now, id, len, flags, source);
        Err(SocketError::BadSocket)
    }

    /// Receives up to `want` bytes of a stream, or one datagram. `sink` is handed the bytes piece by piece
    /// and takes all or fails; when it fails, the bytes of that piece stay in the queue. Zero: end of stream.
    ///
    /// # Errors
    /// `WouldBlock`, `NotConnected`, the socket's error, the sink's.
    pub fn recv(
        &mut self,
        now: Instant,
        id: SocketId,
        want: usize,
        flags: RecvFlags,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<usize> {
        let _ = (now, id, want, flags, sink);
        Err(SocketError::BadSocket)
    }

    /// Sends one datagram of exactly `len` bytes, to `remote` or the connected peer. On a stream `remote` is
    /// ignored, as Linux does.
    ///
    /// # Errors
    /// `MessageSize` when it would need fragments (the kernel's socket can send those);
    /// `DestinationRequired`, `Access` (broadcast), `NotPermitted`, the socket's error, the source's.
    pub fn send_to(
        &mut self,
        now: Instant,
        id: SocketId,
        remote: Option<SocketAddr>,
        len: usize,
        source: &mut dyn FnMut(&mut [u8]) -> Result<usize>,
    ) -> Result<usize> {
        let _ = (now, id, remote, len, source);
        Err(SocketError::BadSocket)
    }

    /// Receives one datagram, at most `want` bytes of it; the rest is thrown away.
    ///
    /// # Errors
    /// `WouldBlock`, the socket's error, the sink's (the datagram stays).
    pub fn recv_from(
        &mut self,
        now: Instant,
        id: SocketId,
        want: usize,
        flags: RecvFlags,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Datagram> {
        let _ = (now, id, want, flags, sink);
        Err(SocketError::BadSocket)
    }

    /// Shuts one direction or both. A listener that is shut for reading stops listening.
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn shutdown(&mut self, now: Instant, id: SocketId, how: How) -> Result<()> {
        let _ = (now, id, how);
        Err(SocketError::BadSocket)
    }

    /// The application is done with the socket; the id is void from here on. Data not yet sent and the FIN
    /// go on by themselves (an orphan), unless SO_LINGER is zero or received data was not read: then RST.
    ///
    /// # Errors
    /// `BadSocket`.
    pub fn close(&mut self, now: Instant, id: SocketId) -> Result<()> {
        let _ = (now, id);
        Err(SocketError::BadSocket)
    }

    /// What the socket is ready for, with `poll`'s meaning; nothing (but HUP and ERR) for a void id.
    pub fn readiness(&self, id: SocketId) -> Readiness {
        let _ = id;
        Readiness::ERR | Readiness::HUP
    }

    /// Our end (`getsockname`). None before it is bound.
    ///
    /// # Errors
    /// `BadSocket`.
    pub fn local(&self, id: SocketId) -> Result<Option<SocketAddr>> {
        let _ = id;
        Err(SocketError::BadSocket)
    }

    /// The other end (`getpeername`).
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn peer(&self, id: SocketId) -> Result<SocketAddr> {
        let _ = id;
        Err(SocketError::BadSocket)
    }

    /// SO_ERROR: the pending error, which is cleared.
    pub fn take_error(&mut self, id: SocketId) -> Option<SocketError> {
        let _ = id;
        None
    }

    /// Sets an option; checked and clamped as Linux does.
    ///
    /// # Errors
    /// `NoProtocolOption` for one that the socket's protocol does not have, or that is read only; `Invalid`.
    pub fn set_option(&mut self, now: Instant, id: SocketId, name: OptName, value: Value) -> Result<()> {
        let _ = (now, id, name, value);
        Err(SocketError::BadSocket)
    }

    /// Reads an option.
    ///
    /// # Errors
    /// `NoProtocolOption` for one that the socket's protocol does not have.
    pub fn option(&mut self, id: SocketId, name: OptName) -> Result<Value> {
        let _ = (id, name);
        Err(SocketError::BadSocket)
    }

    /// Bytes that `recv` would find now (FIONREAD): of the stream, or of the first datagram.
    ///
    /// # Errors
    /// `BadSocket`; `Invalid` for a listener.
    pub fn recv_queue(&self, id: SocketId) -> Result<usize> {
        let _ = id;
        Err(SocketError::BadSocket)
    }

    /// Bytes in the send queue, acknowledged bytes excepted (SIOCOUTQ).
    ///
    /// # Errors
    /// `BadSocket`; `Invalid` for a listener.
    pub fn send_queue(&self, id: SocketId) -> Result<usize> {
        let _ = id;
        Err(SocketError::BadSocket)
    }

    /// What its owner hung on it.
    ///
    /// # Errors
    /// `BadSocket`.
    pub fn cookie(&self, id: SocketId) -> Result<u64> {
        let _ = id;
        Err(SocketError::BadSocket)
    }

    /// Hangs another cookie on it.
    ///
    /// # Errors
    /// `BadSocket`.
    pub fn set_cookie(&mut self, id: SocketId, cookie: u64) -> Result<()> {
        let _ = (id, cookie);
        Err(SocketError::BadSocket)
    }
}
