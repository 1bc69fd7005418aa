//! Requests about the policy of a running stack.
//!
//! `policy` is answered with the policies of the port. `adopt COUNT` is followed by an octet with so many descriptors, which
//! are of a [`Sealed`] policy; it is looked at, and understood where it was not compiled, and the answer is a line, `{}` or
//! `{"error":…}`. Then whoever asked says `commit`, and is answered with what is in force now; without it nothing has changed.
//! So several stacks are first all asked, and changed when none of them objects.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nic::Own;

use super::model::{Applied, PolicyInForce};
use crate::peer::Peer;
use crate::policy_file::{Bundle, Sealed};
use crate::runtime::{Runtime, without_signals};
use crate::wire::receive;

/// Descriptors of a policy at the most.
const MOST: usize = 2;
/// How long whoever asked may be silent.
const PATIENCE: Duration = Duration::from_secs(30);
/// The stack of the thread: the file's parser goes deep.
const STACK_BYTES: usize = 4 << 20;

/// Whether somebody is being answered.
static BUSY: AtomicBool = AtomicBool::new(false);

/// Nobody is being answered when this is gone.
struct Busy;

impl Drop for Busy {
    fn drop(&mut self) {
        BUSY.store(false, Ordering::Release);
    }
}

/// In the child after a fork: the thread that answers is the parent's.
pub(crate) fn forked() {
    BUSY.store(false, Ordering::Release);
}

/// Answers on a thread of its own: a policy of so many files is to come, or the policies are asked for.
pub(super) fn begin(
    mut client: Own<UnixStream>,
    runtime: &'static Runtime,
    files: Option<usize>,
) -> io::Result<()> {
    if files.is_some() && !may_change(&client)? {
        return refuse(&mut client, "only root and the user whose process it is may change its policy");
    }
    if BUSY.swap(true, Ordering::Acquire) {
        return refuse(&mut client, "it is answering somebody else about its policy; try again");
    }
    let busy = Busy;
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    // The application's signals are for its own threads.
    without_signals(|| {
        let answer = move || {
            // Busy until before the last answer, whatever it is: whoever hears that may ask again, however long it takes to
            // forget a policy.
            let done = match files {
                Some(count) => apply(&mut client, runtime, count, busy),
                None => tell(&mut client, runtime, busy),
            };
            if let Err(error) = done {
                tracing::debug!(%error, "answering about the policy");
            }
        };
        thread::Builder::new().name("ringroad-policy".into()).stack_size(STACK_BYTES).spawn(answer).map(drop)
    })
}

/// Whether whoever asks may change the process, or see what it sees: root and its own user may.
pub(crate) fn may_change(client: &UnixStream) -> io::Result<bool> {
    let asker = Peer::of(client)?.uid;
    Ok(asker == 0 || asker == rustix::process::geteuid().as_raw())
}

fn refuse(client: &mut UnixStream, error: &str) -> io::Result<()> {
    line(client, &Applied { error: Some(error.to_owned()), ..Applied::default() })
}

fn line<T: serde::Serialize>(client: &mut UnixStream, answer: &T) -> io::Result<()> {
    let mut text = serde_json::to_vec(answer)?;
    text.push(b'\n');
    client.write_all(&text)
}

fn tell(client: &mut UnixStream, runtime: &Runtime, busy: Busy) -> io::Result<()> {
    let texts = runtime.policies()?;
    let bundle = |text: &str| Bundle::unpacked(text).ok();
    let (current, previous) = (bundle(&texts.current), bundle(&texts.previous));
    drop(busy);
    line(client, &PolicyInForce { pid: std::process::id(), current, previous })
}

fn apply(client: &mut UnixStream, runtime: &Runtime, count: usize, busy: Busy) -> io::Result<()> {
    let sealed = Sealed::received(receive(client, count.min(MOST))?).ok_or(io::ErrorKind::InvalidData)?;
    let text = sealed.text();
    let understood = text.as_ref().map_err(String::clone).and_then(|text| Ok((text, sealed.compiled(text)?)));
    let (text, policy) = match understood {
        Ok(understood) => understood,
        Err(error) => {
            drop(busy);
            return refuse(client, &error);
        }
    };
    line(client, &Applied::default())?;
    let mut word = String::new();
    BufReader::new(client.try_clone()?).take(64).read_line(&mut word)?;
    if word.trim_end() != "commit" {
        return Ok(());
    }
    let done = runtime.put_in_force(&policy, text, sealed.image());
    drop(busy);
    match done {
        Ok(generation) => {
            tracing::info!(generation, "another policy is in force");
            line(client, &Applied { generation: Some(generation), error: None })
        }
        Err(error) => refuse(client, &error.to_string()),
    }
}
