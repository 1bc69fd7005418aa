//! Flows of now: every stack is listened to, also those that come later.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use ringroad::control::client;
use ringroad::flows::Flow;
use ringroad::flows::read::{self, Read};

use super::Take;

/// How often to look for stacks that have come.
const LOOK: Duration = Duration::from_secs(1);
/// Messages that wait to be shown.
const WAITING: usize = 1024;

enum News {
    Message { message: Vec<u8>, flows: Vec<Flow>, lost: u64 },
    End(u32),
}

/// Listens until the stack of `pid` is gone; without it, for ever.
pub(super) fn listen(pid: Option<u32>, to: &mut dyn Take) -> io::Result<()> {
    let (sender, news) = sync_channel(WAITING);
    let mut known = Vec::new();
    attend(pid, &mut known, &sender);
    if known.is_empty() {
        let what = match pid {
            Some(pid) => format!("process {pid} runs no stack, or it does not answer"),
            None => "no stack runs on this host".to_owned(),
        };
        return Err(io::Error::new(ErrorKind::NotFound, what));
    }
    let mut looked = Instant::now();
    loop {
        match news.recv_timeout(LOOK) {
            Ok(News::Message { message, mut flows, lost }) => {
                to.take(Read { message: &message, flows: &mut flows, lost })?;
            }
            Ok(News::End(ended)) => {
                known.retain(|pid| *pid != ended);
                if pid.is_some() {
                    return Ok(());
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        if pid.is_none() && looked.elapsed() >= LOOK {
            attend(None, &mut known, &sender);
            looked = Instant::now();
        }
    }
}

/// Listens to stacks that are not known.
fn attend(pid: Option<u32>, known: &mut Vec<u32>, to: &SyncSender<News>) {
    for (pid, stream) in client::flows(pid, known) {
        let to = to.clone();
        let started = thread::Builder::new().spawn(move || {
            forward(&stream, &to);
            let _ = to.send(News::End(pid));
        });
        if started.is_ok() {
            known.push(pid);
        }
    }
}

/// Reads one stack's messages until it ends; one that makes no sense ends, too.
fn forward(stream: &UnixStream, to: &SyncSender<News>) {
    let _ = read::messages(stream, &mut |read: Read<'_>| {
        let news = News::Message {
            message: read.message.to_vec(),
            flows: std::mem::take(read.flows),
            lost: read.lost,
        };
        to.send(news).map_err(|_| ErrorKind::BrokenPipe.into())
    });
}
