//! The rules, one row each. Change the design here, and say why in ARCHITECTURE.md.

/// A room, and the rooms it may name in its Cargo.toml. Rooms that are not here may name any.
pub(super) const ARROWS: &[(&str, &[&str])] = &[
    ("nic", &[]),
    ("stack", &["nic"]),
    ("af-xdp", &["nic"]),
    ("ef-vi-sys", &[]),
    ("ef-vi", &["nic", "ef-vi-sys"]),
    ("ringroad", &["nic", "stack", "af-xdp", "ef-vi"]),
    ("preload", &["ringroad", "stack"]),
    ("cli", &["ringroad"]),
    ("tests/lab", &[]),
    ("tests/lwip", &[]),
];

/// The floors of `stack/src`, from the ground: a module names only floors below its own. On the ground floor,
/// neighbours may name each other.
pub(super) const FLOORS: &[&[&str]] = &[
    &["time", "seq", "slab", "wheel", "hash", "stats", "config", "error", "types", "plain"],
    &["wire"],
    &["policy", "demux", "ip", "control", "journal"],
    &["tcp", "udp", "icmp"],
    &["socket"],
    &["engine"],
];

/// The files that may hold `unsafe`, and what for.
pub(super) const UNSAFE_FILES: &[(&str, &str)] = &[
    ("af-xdp/src/mapped.rs", "rings and ledger, shared with the kernel and other processes"),
    ("af-xdp/src/ring_tests.rs", "a ring on the heap, for loom"),
    ("af-xdp/src/sys.rs", "system calls of AF_XDP"),
    ("af-xdp/src/sys/bpf.rs", "the system call bpf"),
    ("af-xdp/tests/lab/net.rs", "threads in network namespaces"),
    ("cli/src/capture/libpcap.rs", "libpcap's compiler, when it is installed"),
    ("ef-vi-sys/build.rs", "the library, asked for its version"),
    ("ef-vi-sys/src/library.rs", "the library, opened at run time"),
    ("ef-vi-sys/tests/stand_in.rs", "the stand-in's calls"),
    ("ef-vi/src/vi.rs", "calls of ef_vi"),
    ("nic/src/arena.rs", "the memory frames live in"),
    ("nic/src/frozen.rs", "items in a file that nobody can change"),
    ("nic/src/prefetch.rs", "prefetches, which read nothing"),
    ("preload/src/errno.rs", "the thread's errno"),
    ("preload/src/exec/variadic.rs", "variadic symbols in libc's place"),
    ("preload/src/exit.rs", "symbols in libc's place"),
    ("preload/src/fdtable/memory.rs", "zeroed memory for the life of the process"),
    ("preload/src/fork.rs", "locks held over fork, a symbol in libc's place"),
    ("preload/src/intercept/mod.rs", "symbols in libc's place"),
    ("preload/src/kernel.rs", "libc's functions by value"),
    ("preload/src/real.rs", "libc's functions by name"),
    ("preload/src/signals/deferred.rs", "a queue that a signal handler fills"),
    ("preload/src/signals/mod.rs", "the signal handler"),
    ("preload/src/signals/table.rs", "the application's signal handlers"),
    ("preload/src/start.rs", "the constructor"),
    ("preload/src/stdio/mod.rs", "streams that libc makes, with functions of ours"),
    ("preload/src/stdio/variadic.rs", "variadic symbols in libc's place"),
    ("preload/src/user/copy_process_vm.rs", "copies to and from the application"),
    ("preload/src/user/copy_x86_64.rs", "copies to and from the application"),
    ("preload/src/user/mod.rs", "copies to and from the application"),
    ("preload/src/epoll/model_tests.rs", "the kernel's poll, to compare with"),
    ("ringroad/src/api/message.rs", "recvmsg and sendmsg with control messages"),
    ("ringroad/src/capture/bpf_tests.rs", "SO_ATTACH_FILTER, to compare with"),
    ("ringroad/src/capture/ring.rs", "memory shared with whoever captures"),
    ("ringroad/src/peer.rs", "SO_PEERCRED"),
    ("ringroad/src/keeper/signals.rs", "signalfd"),
    ("ringroad/src/netlink/device.rs", "SO_BINDTODEVICE"),
    ("ringroad/src/port/fds.rs", "descriptors known by number"),
    ("ringroad/src/port/words.rs", "words shared between processes"),
    ("ringroad/src/runtime/atexit.rs", "atexit, pthread_atfork"),
    ("ringroad/src/runtime/block.rs", "ppoll"),
    ("ringroad/src/runtime/mod.rs", "the one runtime of the process, left behind by fork"),
    ("ringroad/src/runtime/signals.rs", "signal masks"),
    ("ringroad/src/runtime/watch.rs", "io_uring submissions"),
    ("tests/lwip/src/real.rs", "lwIP's calls"),
    ("tests/nic/src/sys.rs", "poll"),
    ("tests/drill/src/kernel/sys.rs", "TUN interfaces, namespaces, socket options"),
    ("tests/lab/src/sys.rs", "namespaces, packet sockets, signals"),
];

/// A call that has no place somewhere: where (a path begins so), what, and why.
pub(super) struct Forbidden {
    /// The paths it is forbidden in begin so; empty for everywhere.
    pub(super) place: &'static [&'static str],
    /// The call, as it stands in the code.
    pub(super) call: &'static str,
    /// Why, and what to do instead.
    pub(super) why: &'static str,
}

const STACK: &[&str] = &["stack/src/"];
const PACKET_PATH: &[&str] = &[
    "stack/src/wire",
    "stack/src/demux",
    "stack/src/ip",
    "stack/src/journal",
    "stack/src/tcp",
    "stack/src/udp",
    "stack/src/icmp",
    "stack/src/socket",
    "stack/src/engine",
];
const NO_CLOCK: &str = "the stack has no clock: take `now`";
const NO_SYSTEM: &str = "the stack is sans-IO: this belongs to the runtime";
const NO_STRINGS: &str = "nothing on the packet path makes strings";
const UNFINISHED: &str = "finish it";

/// What must not be called where.
pub(super) const FORBIDDEN: &[Forbidden] = &[
    Forbidden { place: STACK, call: "Instant::now", why: NO_CLOCK },
    Forbidden { place: STACK, call: "std::time::Instant", why: NO_CLOCK },
    Forbidden { place: STACK, call: "SystemTime", why: NO_CLOCK },
    Forbidden { place: STACK, call: "std::fs", why: NO_SYSTEM },
    Forbidden { place: STACK, call: "std::io", why: NO_SYSTEM },
    Forbidden { place: STACK, call: "std::env", why: NO_SYSTEM },
    Forbidden { place: STACK, call: "std::thread", why: NO_SYSTEM },
    Forbidden { place: STACK, call: "std::process", why: NO_SYSTEM },
    Forbidden { place: STACK, call: "std::os", why: NO_SYSTEM },
    Forbidden { place: STACK, call: "TcpStream", why: NO_SYSTEM },
    Forbidden { place: STACK, call: "TcpListener", why: NO_SYSTEM },
    Forbidden { place: STACK, call: "std::net::UdpSocket", why: NO_SYSTEM },
    Forbidden { place: STACK, call: "libc", why: NO_SYSTEM },
    Forbidden { place: STACK, call: "println!", why: "the stack does not talk: count it" },
    Forbidden { place: STACK, call: "eprintln!", why: "the stack does not talk: count it" },
    Forbidden { place: STACK, call: "print!", why: "the stack does not talk: count it" },
    Forbidden { place: PACKET_PATH, call: "format!", why: NO_STRINGS },
    Forbidden { place: PACKET_PATH, call: "to_string()", why: NO_STRINGS },
    Forbidden { place: PACKET_PATH, call: "String::new", why: NO_STRINGS },
    Forbidden { place: &[], call: "dbg!", why: UNFINISHED },
    Forbidden { place: &[], call: "todo!", why: UNFINISHED },
    Forbidden { place: &[], call: "unimplemented!", why: UNFINISHED },
    Forbidden { place: &[], call: "#[ignore", why: "a test that is ignored is a promise not kept" },
];

/// Folders whose tests run as threads of one process, beside each other.
const ROOMS: &[&str] =
    &["nic/src/", "stack/src/", "af-xdp/src/", "ef-vi/src/", "ringroad/src/", "preload/src/", "cli/src/"];
const OF_THE_PROCESS: &str = "it is the process's, and other tests run beside: hand it in as an argument";

/// What tests must not call there: they would fail now and then.
pub(super) const FORBIDDEN_IN_TESTS: &[Forbidden] = &[
    Forbidden { place: ROOMS, call: "temp_dir", why: "tempfile::tempdir gives a place that nobody else has" },
    Forbidden {
        place: ROOMS,
        call: "Command::new",
        why: "until it executes, a child keeps open what the tests beside close: try it in tests/",
    },
    Forbidden { place: ROOMS, call: "thread::sleep", why: "wait for what is to happen" },
    Forbidden { place: ROOMS, call: "set_var", why: OF_THE_PROCESS },
    Forbidden { place: ROOMS, call: "remove_var", why: OF_THE_PROCESS },
    Forbidden { place: ROOMS, call: "set_current_dir", why: OF_THE_PROCESS },
];

/// Marks in comments that say something is unfinished; spelled apart so that this file does not hold them.
pub(super) const MARKS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Lines a file may have without its tests.
pub(super) const FILE_LINES: usize = 600;

/// Lines a function may have, signature and braces included.
pub(super) const FUNCTION_LINES: usize = 70;
