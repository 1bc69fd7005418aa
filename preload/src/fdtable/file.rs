//! What the shim knows of an open file description: shared by all fds that are dups of one another.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::sync::atomic::{
    AtomicI32, AtomicU8, AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use libc::c_int;
use stack::types::{CongestionControl, SocketId, canonical};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Nothing: the slot is free.
    Free = 0,
    /// A TCP socket.
    Stream = 1,
    /// A UDP socket.
    Datagram = 2,
    /// An epoll set.
    Epoll = 3,
}

/// Facts about a file that are yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Flag {
    /// O_NONBLOCK.
    NonBlocking = 1,
    /// `listen` was called.
    Listening = 2,
    /// The backing descriptor is a dup of a template that other connections share.
    SharedBacking = 4,
    /// The stack's socket belongs to the process that this one was forked from.
    Inherited = 8,
    /// It is open here, and a child of this process has its connection.
    Lent = 16,
    /// It went to another process, which tells when there is something to read: until then it is not worth to ask for it.
    Away = 32,
    /// Another process waits for its connection, too, and is to hear when there is something to read.
    Watched = 1 << 24,
    /// A port was given by `bind`.
    Bound = 64,
    /// It was decided that it stays in the kernel.
    Kernels = 128,
    /// UDP: UDP_CORK is on.
    Corked = 1 << 12,
    /// UDP: the kernel's socket holds a datagram that is not whole yet.
    Pending = 1 << 13,
    /// UDP: IP_MULTICAST_LOOP is off.
    NoLoop = 1 << 14,
    /// UDP: SO_TIMESTAMPING asks for times of sending.
    TimesSending = 1 << 15,
    /// UDP: UDP_SEGMENT is set.
    Segments = 1 << 16,
    /// UDP: others on this host may hear the same groups at the same port: they are left to the kernel.
    SharedGroups = 1 << 17,
    /// UDP: connected to a group.
    GroupPeer = 1 << 18,
    /// AF_INET6.
    V6 = 1 << 19,
    /// IPV6_V6ONLY, as far as it is the application's doing: the kernel sets it too when we choose an address.
    OnlyV6 = 1 << 20,
    /// The address that it is bound to was not the application's choice: it goes when a connect has failed.
    OurAddress = 1 << 21,
    /// Nor was its port: that goes, too.
    OurPort = 1 << 23,
    /// Behind the descriptor is the reader's end of a pump.
    Pumped = 1 << 25,
    /// Its descriptor was made to outlive an exec: it is meant for programs that are spawned.
    Offered = 1 << 26,
    /// Its packets have headers that only the kernel writes.
    Headers = 1 << 22,
    /// Its last descriptor is closed, and a call still waits on it: the last such call ends it.
    Orphaned = 512,
    /// An epoll set with listeners or UDP sockets that this process has not waited for yet.
    Unclaimed = 1 << 27,
    /// An epoll set whose waiters in the kernel are being called back.
    Kicked = 256,
}

const NO_SOCKET: u64 = 0;

/// An open file description. Slots are reused but never freed, so a late reader meets a valid, if strange,
/// file; the fd table's word, read again, tells whether it was the right one.
pub(crate) struct File {
    pub(super) generation: AtomicU32,
    pub(super) references: AtomicU32,
    kind: AtomicU8,
    flags: AtomicU32,
    socket: AtomicU64,
    backlog: AtomicI32,
    set: AtomicU32,
    recv_timeout: AtomicU64,
    send_timeout: AtomicU64,
    touched: [AtomicU64; 2],
    congestion: AtomicU8,
    waiters: AtomicU32,
    owner: AtomicU64,
}

impl File {
    /// Makes a fresh file of a free slot.
    pub(super) fn reset(&self, kind: Kind) {
        self.kind.store(kind as u8, Relaxed);
        self.flags.store(0, Relaxed);
        self.socket.store(NO_SOCKET, Relaxed);
        self.backlog.store(0, Relaxed);
        self.set.store(0, Relaxed);
        self.recv_timeout.store(0, Relaxed);
        self.send_timeout.store(0, Relaxed);
        self.touched.iter().for_each(|word| word.store(0, Relaxed));
        self.congestion.store(0, Relaxed);
        self.waiters.store(0, Relaxed);
        self.owner.store(0, Relaxed);
    }

    /// Its address family: AF_INET or AF_INET6.
    pub(crate) fn family(&self) -> c_int {
        if self.is(Flag::V6) { libc::AF_INET6 } else { libc::AF_INET }
    }

    /// An address that a call on this socket named, as the stack knows it; none when such a socket does not take
    /// it: the kernel has the errno. (A UDP socket of IPv6 takes names of IPv4, a TCP socket does not.)
    pub(crate) fn understood(&self, address: SocketAddr) -> Option<SocketAddr> {
        let v6 = self.is(Flag::V6);
        let takes = address.is_ipv6() == v6 || (v6 && self.kind() == Kind::Datagram);
        takes.then(|| canonical(address))
    }

    /// An address as a socket of this family tells it: IPv4 is mapped where the family is IPv6 (RFC 3493 §3.7).
    pub(crate) fn told(&self, address: SocketAddr) -> SocketAddr {
        match address {
            SocketAddr::V4(v4) if self.is(Flag::V6) => {
                SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
            }
            _ => address,
        }
    }

    /// Any address of its family.
    pub(crate) fn any(&self, port: u16) -> SocketAddr {
        let any = if self.is(Flag::V6) { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        SocketAddr::new(any, port)
    }

    /// What it is.
    #[inline]
    pub(crate) fn kind(&self) -> Kind {
        match self.kind.load(Relaxed) {
            1 => Kind::Stream,
            2 => Kind::Datagram,
            3 => Kind::Epoll,
            _ => Kind::Free,
        }
    }

    /// Whether `flag` holds.
    #[inline]
    pub(crate) fn is(&self, flag: Flag) -> bool {
        self.flags.load(Relaxed) & flag as u32 != 0
    }

    /// Makes `flag` hold or not.
    pub(crate) fn set(&self, flag: Flag, on: bool) {
        if on {
            self.flags.fetch_or(flag as u32, Relaxed);
        } else {
            self.flags.fetch_and(!(flag as u32), Relaxed);
        }
    }

    /// The stack's socket, when there is one.
    #[inline]
    pub(crate) fn socket(&self) -> Option<SocketId> {
        let packed = self.socket.load(Relaxed);
        let index = (packed as u32).checked_sub(1)?;
        Some(SocketId { index, generation: (packed >> 32) as u32 })
    }

    /// Gives it a socket of the stack, or takes it away.
    pub(crate) fn set_socket(&self, id: Option<SocketId>) {
        let packed = match id {
            Some(id) => u64::from(id.generation) << 32 | u64::from(id.index + 1),
            None => NO_SOCKET,
        };
        self.socket.store(packed, Relaxed);
    }

    /// The backlog that `listen` named.
    pub(crate) fn backlog(&self) -> i32 {
        self.backlog.load(Relaxed)
    }

    /// Notes the backlog.
    pub(crate) fn set_backlog(&self, backlog: i32) {
        self.backlog.store(backlog, Relaxed);
    }

    /// Its epoll set, for `Kind::Epoll`.
    pub(crate) fn epoll(&self) -> u32 {
        self.set.load(Relaxed)
    }

    /// Notes the epoll set.
    pub(crate) fn set_epoll(&self, set: u32) {
        self.set.store(set, Relaxed);
    }

    /// A thread begins (or ends) to wait: for the set in the kernel alone, on the socket in a call. Answers how many do.
    pub(crate) fn count_waiter(&self, begins: bool) -> u32 {
        if begins { self.waiters.fetch_add(1, SeqCst) + 1 } else { self.waiters.fetch_sub(1, SeqCst) - 1 }
    }

    /// Threads that wait so.
    pub(crate) fn waiters(&self) -> u32 {
        self.waiters.load(SeqCst)
    }

    /// In the child after a fork: the threads that waited do not exist here.
    pub(crate) fn forget_waiters(&self) {
        self.waiters.store(0, SeqCst);
    }

    /// SO_RCVTIMEO (true) or SO_SNDTIMEO, in nanoseconds; zero is never.
    pub(crate) fn timeout(&self, receiving: bool) -> u64 {
        if receiving { self.recv_timeout.load(Relaxed) } else { self.send_timeout.load(Relaxed) }
    }

    /// Notes SO_RCVTIMEO or SO_SNDTIMEO.
    pub(crate) fn set_timeout(&self, receiving: bool, nanoseconds: u64) {
        let timeout = if receiving { &self.recv_timeout } else { &self.send_timeout };
        timeout.store(nanoseconds, Relaxed);
    }

    /// Who gets SIGURG, packed; zero is nobody.
    pub(crate) fn owner(&self) -> u64 {
        self.owner.load(Relaxed)
    }

    /// Notes who gets SIGURG.
    pub(crate) fn set_owner(&self, packed: u64) {
        self.owner.store(packed, Relaxed);
    }

    /// Notes that the option with this number in the table was set on the kernel's socket.
    pub(crate) fn touch(&self, option: usize) {
        self.touched[option / 64 % 2].fetch_or(1 << (option % 64), Relaxed);
    }

    /// Whether that option was set, or may have been.
    pub(crate) fn touched(&self, option: usize) -> bool {
        self.touched[option / 64 % 2].load(Relaxed) & 1 << (option % 64) != 0
    }

    /// Keeps the congestion control that was asked for and that the kernel does not have.
    pub(crate) fn keep_congestion(&self, control: Option<CongestionControl>) {
        let at = CongestionControl::ALL.iter().position(|c| Some(*c) == control);
        self.congestion.store(at.map_or(0, |at| at as u8 + 1), Relaxed);
    }

    /// The congestion control that was kept.
    pub(crate) fn congestion(&self) -> Option<CongestionControl> {
        let at = usize::from(self.congestion.load(Relaxed)).checked_sub(1)?;
        CongestionControl::ALL.get(at).copied()
    }
}
