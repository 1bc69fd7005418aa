//! The end of a capture that is in the stack's process: a thread for each, which waits for the reader to go.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nic::Own;

use super::bpf::{self, Program};
use super::wish::{Answer, Wish};
use super::{Capture, Wanted};
use crate::control::may_change;
use crate::runtime::{Runtime, command, without_signals};
use crate::wire::{Timed, hear, say, send};

/// Captures of a stack at a time: each has memory, and costs time for every packet.
const MOST: usize = 4;
/// How long whoever asked may be silent.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest wish: a filter of as many instructions as there may be, in JSON.
const WISH: usize = bpf::MOST * 64 + 1024;
/// The stack of the thread.
const STACK_BYTES: usize = 256 * 1024;

/// Captures under way.
static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// A place among them, given back when it is dropped.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let take = |n: usize| (n < MOST).then_some(n + 1);
        UNDER_WAY.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).ok().map(|_| Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Ordering::AcqRel);
    }
}

/// In the child after a fork: the threads that see to the captures are the parent's, and so is the memory of their rings.
pub(crate) fn forked() {
    UNDER_WAY.store(0, Ordering::Release);
}

/// Begins a capture for `client`, and sees to its end on a thread of its own.
pub(crate) fn begin(client: Own<UnixStream>, runtime: &'static Runtime) -> io::Result<()> {
    if !may_change(&client)? {
        return refuse(&client, "only root and the user whose process it is may see its packets");
    }
    let Some(place) = Place::take() else {
        return refuse(&client, &format!("{MOST} captures of it are under way already"));
    };
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    without_signals(|| {
        let capture = move || {
            if let Err(error) = capture(&client, runtime) {
                tracing::debug!(%error, "a capture");
            }
            drop(place);
        };
        thread::Builder::new()
            .name("ringroad-capture".into())
            .stack_size(STACK_BYTES)
            .spawn(capture)
            .map(drop)
    })
}

fn refuse(client: &UnixStream, why: &str) -> io::Result<()> {
    say(client, &Answer::Refused(why.to_owned()))
}

fn capture(client: &UnixStream, runtime: &'static Runtime) -> io::Result<()> {
    let wish: Wish = hear(Timed::new(client, PATIENCE), WISH)?;
    let wanted = match wish.filter.as_slice() {
        [] => Wanted::All,
        text => match Program::new(text) {
            Ok(program) => Wanted::Filter(program),
            Err(fault) => return refuse(client, &fault.to_string()),
        },
    };
    let (ids, interfaces): (Vec<_>, Vec<_>) = runtime.roads().into_iter().unzip();
    let (tap, ring) = match Capture::new(wanted, wish.snaplen as usize, ids) {
        Ok(made) => made,
        Err(error) => return refuse(client, &format!("making the ring: {error}")),
    };
    say(client, &Answer::Granted { command: command(), interfaces })?;
    send(client, &[ring.as_fd()])?;
    drop(ring);
    let id = runtime.tap(Box::new(tap));
    client.set_read_timeout(None)?;
    // Nothing comes but the end.
    while (&mut &*client).read(&mut [0; 64]).is_ok_and(|n| n > 0) {}
    // Its memory is given back where nobody waits for the lock.
    drop(runtime.untap(id));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_have_their_number_and_a_child_its_own() {
        let parents: Vec<Place> = (0..MOST).map(|_| Place::take().unwrap()).collect();
        assert!(Place::take().is_none());
        forked();
        // In the child nobody is there to give these back.
        std::mem::forget(parents);
        let childs: Vec<Place> = (0..MOST).map(|_| Place::take().unwrap()).collect();
        assert!(Place::take().is_none());
        drop(childs);
        assert!(Place::take().is_some());
    }
}
