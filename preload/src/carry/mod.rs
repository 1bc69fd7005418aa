//! Connections that go along when the process executes another program (inetd, `socat …,nofork`, sshd): what its
//! descriptors name survives in the kernel, what the stack knows goes as bytes through a line that stays open.
//!
//! A connection that was inherited over fork and not used yet is the parent's still: the new program gets the line to the
//! parent, and asks when it first uses it. What the process drove itself goes whole; what it closed and has not delivered,
//! or is closed by the exec, is ended by the new program's stack, unless the parent holds it, too, or children do.

mod file;
mod pack;
mod settle;

use ringroad::Runtime;
use stack::error::SocketError;
use stack::plain::Plain;
use stack::time::Instant;

use crate::heirs::{AGAIN, PATIENCE};
use crate::kernel;
use crate::reason::Reason;

pub(crate) use pack::{Carried, pack, unpack};
pub(crate) use settle::{announced, is_under_way, take};

/// Changes with the meaning of any byte.
const VERSION: u16 = 3;

/// What something is: a connection that is the parent's still.
const PARENTS: u8 = 1;
/// One of ours, open.
const OURS: u8 = 2;
/// One of ours that the exec closes: it ends,
const ENDS: u8 = 3;
/// or goes back to the parent, which holds it, too,
const BACK: u8 = 4;
/// or waits for children, as those do that were closed before.
const PARKED: u8 = 5;
/// One that a child has at present.
const LENT: u8 = 6;
/// A child.
const CHILD: u8 = 7;
/// What is nobody's.
const ESTATE: u8 = 8;
/// How many did not come along.
const LOST: u8 = 9;

/// Until when frames are waited for, for all connections together.
fn deadline() -> Instant {
    Instant::from_nanos(kernel::now()) + PATIENCE
}

/// What was nobody's is this process's to deliver; nothing is locked while it waits for frames.
fn inherit(runtime: &Runtime, mut estate: &[u8], until: Instant) {
    loop {
        let mut turn = runtime.lock();
        // A stack that has just begun gets its frames as it turns.
        turn.poll();
        let now = turn.now();
        while !estate.is_empty() && turn.stack().inherit(now, &mut estate) != Err(SocketError::NoBuffers) {}
        drop(turn);
        if estate.is_empty() {
            return;
        }
        if now >= until {
            return Reason::Exec.count();
        }
        std::thread::sleep(AGAIN);
    }
}

fn put_bytes(bytes: &[u8], to: &mut Vec<u8>) {
    (bytes.len() as u64).put(to);
    to.extend_from_slice(bytes);
}

fn take_bytes<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(u64::take(from)?).ok()?;
    let (bytes, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(bytes)
}
