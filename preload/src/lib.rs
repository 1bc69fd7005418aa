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
//! signals cancel fork exec spawn carry exit   the process
//! sandbox      a process that forbids itself what a stack needs
//! label        names of connections, on the kernel's sockets behind them
//! reason       why something stayed in the kernel, counted
//! ```
//!
//! What libc does inside itself is not seen: asynchronous I/O. A connection belongs to the
//! process that opened it; a child, the next program of a process, or who was sent it asks for it when it first uses it.

mod attach;
mod cancel;
mod carry;
mod datagram_options;
mod dispatch;
mod environment;
mod epoll;
mod errno;
mod exec;
mod exit;
mod fdtable;
mod fences;
mod fork;
mod groups;
mod guard;
mod headers;
mod heirs;
mod heritage;
mod intercept;
mod kernel;
mod label;
mod likeness;
mod options;
mod poll_select;
mod pumped;
mod real;
mod reason;
mod sandbox;
mod signals;
mod spawn;
mod start;
mod state;
mod stdio;
mod user;
