//! Why a call or a socket was left to the kernel: a table, one row a reason, each with a counter.
//!
//! `ringroad stat` shows the counters, so "why was this socket not accelerated?" has an answer.

use core::sync::atomic::{AtomicU64, Ordering};

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// Why something was left to the kernel.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub(crate) enum Reason {
            $($(#[$doc])* $variant,)*
        }

        /// The names under which the counters are shown, in the order of the variants.
        pub(crate) const NAMES: &[&str] = &[$($name,)*];
    };
}

reasons! {
    /// Not a socket of ours, or one whose life has not come to a choice yet: nothing is lost, not shown.
    Plain = "plain";
    /// A socket type or protocol other than TCP and UDP.
    Protocol = "protocol";
    /// The destination does not leave by an accelerated interface.
    Route = "route";
    /// The socket is bound to an address that no accelerated interface has.
    LocalAddress = "local_address";
    /// The runtime could not be started, or another process owns the port for now.
    NoStack = "no_stack";
    /// The engine has no room for another socket.
    NoRoom = "no_room";
    /// The engine refused what the kernel allowed (an address, a listener).
    Refused = "refused";
    /// A datagram too long for a frame, or for broadcast or multicast.
    Datagram = "datagram";
    /// A socket option that only the backing socket knows.
    Option = "option";
    /// An ioctl or fcntl that only the backing socket knows.
    Control = "control";
    /// splice from a UDP socket, which was refused.
    Splice = "splice";
    /// An io_uring was asked for and refused: what is submitted there is not seen.
    IoUring = "io_uring";
    /// The connection belongs to the process that this one was forked from.
    Inherited = "inherited";
    /// A connection could not go along when its process executed another program (which counts it): its handshake was
    /// not over, there was too much of it, or no room for it there.
    Exec = "exec";
    /// A connection could not go along with its descriptor that was sent to another process, where its handshake was not
    /// over or nobody keeps it meanwhile; or the process that has got the descriptor cannot have it.
    Passed = "passed";
    /// The process has forbidden itself what a stack needs (seccomp, no more descriptors): a socket that it has then, or
    /// opens later, is the kernel's; or a connection could not be pumped to it.
    Sandbox = "sandbox";
    /// The connection came to the kernel's side of a listener.
    KernelPeer = "kernel_peer";
    /// A flag or control message that only the kernel knows.
    Message = "message";
    /// A group at a port where a socket of another program may hear it too.
    SharedGroup = "shared_group";
    /// The socket has asked for headers that only the kernel writes (extension headers, IPv4 options, flow labels).
    Header = "header";
    /// The socket has asked for a fence that only the kernel puts around it: an interface, a filter, signed segments, what
    /// is in datagrams.
    Fence = "fence";
    /// The port of the socket is not held by its backing socket (IP_BIND_ADDRESS_NO_PORT).
    NoPort = "no_port";
}

static COUNTERS: [AtomicU64; NAMES.len()] = [const { AtomicU64::new(0) }; NAMES.len()];

impl Reason {
    /// Counts one.
    pub(crate) fn count(self) {
        self.count_many(1);
    }

    /// Counts so many.
    pub(crate) fn count_many(self, many: u32) {
        COUNTERS[self as usize].fetch_add(many.into(), Ordering::Relaxed);
    }
}

/// Calls `each` with every reason's name and count.
pub(crate) fn each(mut each: impl FnMut(&'static str, u64)) {
    for (name, counter) in NAMES.iter().zip(&COUNTERS).skip(1) {
        each(name, counter.load(Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_reason_is_shown_under_its_name() {
        let of = |wanted| {
            let mut found = None;
            each(|name, count| found = if name == wanted { Some(count) } else { found });
            found
        };
        let before = of("splice").unwrap();
        Reason::Splice.count();
        assert_eq!(of("splice"), Some(before + 1));
        assert_eq!(of("plain"), None);
    }
}
