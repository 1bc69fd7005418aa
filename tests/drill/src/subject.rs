//! What a drill needs of a TCP: packets in and out, the time, and the socket calls.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use stack::error::SocketError;
use stack::socket::{How, OptName, RecvFlags, SendFlags, TcpInfo, Value};
use stack::types::Readiness;

/// An error number of a socket call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl From<SocketError> for Errno {
    fn from(error: SocketError) -> Self {
        Self(error.errno())
    }
}

impl PartialEq<SocketError> for Errno {
    fn eq(&self, other: &SocketError) -> bool {
        self.0 == other.errno()
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, std::io::Error::from_raw_os_error(self.0))
    }
}

/// What a socket call answers.
pub type Answer<T> = Result<T, Errno>;

/// A socket of the subject.
pub type Fd = usize;

/// A state of RFC 9293 §3.3.2, as an onlooker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// There is no connection.
    Closed,
    /// LISTEN.
    Listen,
    /// SYN-SENT.
    SynSent,
    /// SYN-RECEIVED.
    SynReceived,
    /// ESTABLISHED.
    Established,
    /// FIN-WAIT-1.
    FinWait1,
    /// FIN-WAIT-2.
    FinWait2,
    /// CLOSE-WAIT.
    CloseWait,
    /// CLOSING.
    Closing,
    /// LAST-ACK.
    LastAck,
    /// TIME-WAIT.
    TimeWait,
}

/// What can be set about a whole TCP, for one drill. The kernel has it as a sysctl or a property of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knob {
    /// Challenge ACKs a second (`tcp_challenge_ack_limit`).
    ChallengeAcks(u32),
    /// Retransmissions of a SYN (`tcp_syn_retries`).
    SynRetries(u8),
    /// Retransmissions of a SYN-ACK (`tcp_synack_retries`).
    SynAckRetries(u8),
    /// Retransmissions of data (`tcp_retries2`).
    Retries(u8),
    /// How long an orphan stays in FIN-WAIT-2 (`tcp_fin_timeout`), seconds.
    FinTimeout(u32),
    /// Whether black holes on the path are looked for (`tcp_mtu_probing`).
    MtuProbing(u8),
    /// The MTU of the link.
    Mtu(u16),
    /// Fast Open: 1 for clients, 2 for servers (`tcp_fastopen`).
    FastOpen(u8),
    /// ECN: 0 never, 1 asks, 2 when asked (`tcp_ecn`).
    Ecn(u8),
    /// SYN cookies: 0 never, 1 when the backlog is full, 2 always (`tcp_syncookies`).
    SynCookies(u8),
    /// The socket is bound to no address, only to a port.
    AnyAddress,
    /// A sysctl below `net.ipv4` that only the kernel needs to be comparable.
    KernelOnly(&'static str, &'static str),
}

/// A TCP under test.
pub trait Subject {
    /// The time since the drill began.
    fn elapsed(&self) -> Duration;

    /// Lets time pass until `at`.
    fn run_to(&mut self, at: Duration);

    /// An IP packet arrives.
    fn inject(&mut self, packet: &[u8]);

    /// The next IP packet that it sends, in order. A subject in real time is waited for.
    fn next_sent(&mut self) -> Option<Vec<u8>>;

    /// As [`next_sent`](Subject::next_sent), without waiting for what may be sent later.
    fn sent_by_now(&mut self) -> Option<Vec<u8>>;

    /// socket(2).
    fn socket(&mut self) -> Answer<Fd>;
    /// bind(2).
    fn bind(&mut self, fd: Fd, local: SocketAddr) -> Answer<()>;
    /// listen(2).
    fn listen(&mut self, fd: Fd, backlog: u32) -> Answer<()>;
    /// connect(2).
    fn connect(&mut self, fd: Fd, remote: SocketAddr) -> Answer<()>;
    /// sendto(2) with MSG_FASTOPEN: connects and sends.
    fn send_opening(&mut self, fd: Fd, remote: SocketAddr, bytes: &[u8]) -> Answer<usize>;
    /// accept(2).
    fn accept(&mut self, fd: Fd) -> Answer<Fd>;
    /// send(2).
    fn send(&mut self, fd: Fd, bytes: &[u8], flags: SendFlags) -> Answer<usize>;
    /// recv(2).
    fn recv(&mut self, fd: Fd, want: usize, flags: RecvFlags) -> Answer<Vec<u8>>;
    /// shutdown(2).
    fn shutdown(&mut self, fd: Fd, how: How) -> Answer<()>;
    /// close(2).
    fn close(&mut self, fd: Fd);
    /// setsockopt(2).
    fn set(&mut self, fd: Fd, name: OptName, value: Value) -> Answer<()>;
    /// getsockopt(2).
    fn get(&mut self, fd: Fd, name: OptName) -> Answer<Value>;
    /// getsockopt(2) of TCP_INFO.
    fn info(&mut self, fd: Fd) -> TcpInfo;
    /// poll(2): what it is ready for.
    fn readiness(&mut self, fd: Fd) -> Readiness;
    /// Edge-triggered epoll: what it was ready for when it last became ready for something; nothing when it has
    /// not since this was asked.
    fn wakes(&mut self, fd: Fd) -> Readiness;
    /// The state of the connection between these ends, sockets nobody holds included.
    fn state(&mut self, local: SocketAddr, remote: SocketAddr) -> State;
    /// Ends the drill: what its own rules say must hold now.
    fn finish(&mut self) {}
}
