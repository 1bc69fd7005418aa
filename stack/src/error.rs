//! What a socket call can answer besides success: one variant an errno.

use core::fmt;

macro_rules! socket_errors {
    ($($(#[$doc:meta])* $name:ident = $errno:literal, $words:literal;)*) => {
        /// Why a socket call failed. One variant an errno of Linux; [`errno`](SocketError::errno) converts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(i32)]
        pub enum SocketError {
            $($(#[$doc])* $name = $errno,)*
        }

        impl SocketError {
            /// The error with this number, if it is one of these.
            pub const fn of_errno(errno: i32) -> Option<Self> {
                match errno {
                    $($errno => Some(SocketError::$name),)*
                    _ => None,
                }
            }

            /// Linux's number (the generic table: x86, arm, riscv).
            pub const fn errno(self) -> i32 {
                self as i32
            }
        }

        impl fmt::Display for SocketError {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(SocketError::$name => $words,)* })
            }
        }
    };
}

socket_errors! {
    /// EPERM: the policy does not let this flow out.
    NotPermitted = 1, "operation not permitted by the policy";
    /// ENOENT: there is no congestion control of that name.
    NoEntry = 2, "no such congestion control";
    /// EBADF: there is no such socket (any more).
    BadSocket = 9, "no such socket";
    /// EAGAIN: it would block.
    WouldBlock = 11, "operation would block";
    /// ENOMEM.
    NoMemory = 12, "out of memory";
    /// EACCES: broadcast without SO_BROADCAST.
    Access = 13, "permission denied";
    /// EFAULT: the application's memory could not be read or written.
    Fault = 14, "bad address";
    /// EINVAL.
    Invalid = 22, "invalid argument";
    /// EPIPE: this side was shut for sending.
    BrokenPipe = 32, "broken pipe";
    /// ENONET: the host is isolated.
    NoNetwork = 64, "machine is not on the network";
    /// EPROTO: a router or the peer could not make sense of a header.
    Protocol = 71, "protocol error";
    /// EDESTADDRREQ.
    DestinationRequired = 89, "destination address required";
    /// EMSGSIZE: the datagram does not fit.
    MessageSize = 90, "message too long";
    /// ENOPROTOOPT.
    NoProtocolOption = 92, "protocol not available";
    /// EOPNOTSUPP.
    NotSupported = 95, "operation not supported";
    /// EAFNOSUPPORT: the other end is of another family than this one.
    FamilyNotSupported = 97, "address family not supported";
    /// EADDRINUSE.
    AddressInUse = 98, "address in use";
    /// EADDRNOTAVAIL.
    AddressNotAvailable = 99, "cannot assign requested address";
    /// ENETUNREACH: no route.
    NetworkUnreachable = 101, "network is unreachable";
    /// ECONNABORTED.
    ConnectionAborted = 103, "software caused connection abort";
    /// ECONNRESET.
    ConnectionReset = 104, "connection reset by peer";
    /// ENOBUFS: no frame, no socket slot.
    NoBuffers = 105, "no buffer space available";
    /// EISCONN.
    IsConnected = 106, "socket is connected";
    /// ENOTCONN.
    NotConnected = 107, "socket is not connected";
    /// ETIMEDOUT.
    TimedOut = 110, "connection timed out";
    /// ECONNREFUSED.
    ConnectionRefused = 111, "connection refused";
    /// EHOSTDOWN: the last router knows that the host is not there.
    HostDown = 112, "host is down";
    /// EHOSTUNREACH.
    HostUnreachable = 113, "no route to host";
    /// EALREADY: a connect is under way.
    AlreadyConnecting = 114, "operation already in progress";
    /// EINPROGRESS: the connect has begun.
    InProgress = 115, "operation now in progress";
}

impl core::error::Error for SocketError {}

/// The application's memory could not be read or written; what a copying closure answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

impl From<Fault> for SocketError {
    fn from(_: Fault) -> Self {
        SocketError::Fault
    }
}
