//! The shim: libc calls to sockets, answered by the stack where the way is accelerated, by the kernel else.
//!
//! Loaded with `LD_PRELOAD` (by `ringroad run`). Without `RINGROAD_IFACE` and `RINGROAD_PORT` in the
//! environment it does nothing at all.
//!
//! ```text
//! intercept    the table: one row a libc symbol
//! real kernel  libc's own functions
//! guard        who is calling: the application or we
//! user errno   the application's memory and errno
//! fdtable      fd → file, without a lock      state   what changes, under one
//! attach       from kernel socket to stack socket
//! dispatch options epoll poll_select          what becomes of a call
//! stdio                                       libc's streams on sockets
//! signals cancel fork exec exit               the process
//! reason       why something stayed in the kernel, counted
//! ```
//!
//! What libc does inside itself is not seen: the standard streams on a connection, asynchronous I/O, `posix_spawn`'s
//! file actions. A connection belongs to the process that opened it: a child has the number, not the stream.

mod attach;
mod cancel;
mod datagram_options;
mod dispatch;
mod environment;
mod epoll;
mod errno;
mod exec;
mod exit;
mod fdtable;
mod fork;
mod groups;
mod guard;
mod heirs;
mod heritage;
mod intercept;
mod kernel;
mod options;
mod poll_select;
mod real;
mod reason;
mod signals;
mod start;
mod state;
mod stdio;
mod user;
