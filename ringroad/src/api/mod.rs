//! Sockets like those of [`std::net`], on the stack where an accelerated interface serves them and in the
//! kernel everywhere else: a program always works.
//!
//! The runtime starts with the first socket, from the environment ([`Config::from_env`](crate::Config)); or
//! earlier, from a configuration of the program's own, with [`Runtime::start`]. Under `ringroad run` the shim
//! does the work: the sockets here are the kernel's then, as far as they know.

mod backing;
mod listener;
mod message;
mod meta;
mod ring;
mod stream;
mod udp;

use std::io;
use std::net::SocketAddr;
use std::sync::OnceLock;

use stack::error::SocketError;

use crate::config::Config;
use crate::runtime::Runtime;

pub use listener::{Incoming, TcpListener};
pub use meta::Meta;
pub use stream::TcpStream;
pub use udp::UdpSocket;

/// The runtime, started from the environment when it does not run yet. `None` when nothing is to be
/// accelerated, or nothing can be and the configuration does not insist.
fn runtime() -> io::Result<Option<&'static Runtime>> {
    static TRIED: OnceLock<Option<String>> = OnceLock::new();
    if let Some(running) = Runtime::current() {
        return Ok(Some(running));
    }
    let failed = TRIED.get_or_init(start);
    match failed {
        Some(error) => Err(io::Error::other(error.clone())),
        None => Ok(Runtime::current()),
    }
}

/// Starts the runtime; answers why it could not when that is to be an error.
fn start() -> Option<String> {
    let (config, warnings) = Config::from_env();
    crate::log::init(config.log);
    if let Some(grave) = warnings.iter().find(|warning| warning.is_grave()) {
        return Some(grave.to_string());
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    // Where the shim is loaded, the kernel's sockets are its own: it accelerates them, and drives the port.
    if !config.wants_acceleration() || crate::launch::shim_is_loaded() {
        return None;
    }
    match Runtime::start(&config) {
        Ok(_) => None,
        Err(error) if config.insists() => Some(error.to_string()),
        Err(error) => {
            tracing::warn!("{error}; sockets stay in the kernel");
            None
        }
    }
}

fn error(e: SocketError) -> io::Error {
    io::Error::from_raw_os_error(e.errno())
}

/// Runs `f` with each address until one succeeds.
fn each_address<T>(
    addresses: impl std::net::ToSocketAddrs,
    mut f: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "could not resolve to any addresses");
    for address in addresses.to_socket_addrs()? {
        match f(address) {
            Ok(done) => return Ok(done),
            Err(error) => last = error,
        }
    }
    Err(last)
}
