//! What the keeper waits for: that a process leaves it something, or dies; that somebody asks for the port; that
//! everybody has gone.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::door::{Answer, Doors, Wish, answer, may_join, settled};
use super::{begin, signals};
use crate::config::Config;
use crate::error::StartError;
use crate::netlink::Links;
use crate::port::{Claimed, Desk, Guests, Port, Post, Roster, borrow};
use crate::runtime::Runtime;

/// How often to look whether anything is left to do, once everybody has gone.
const LOOK: Duration = Duration::from_millis(100);
/// How long a dead process is left to the living ones.
const OTHERS: Duration = Duration::from_millis(50);
/// After everybody has gone, peers that take nothing have so long (Linux gives orphans 100 s and more:
/// tcp_orphan_retries).
const PEERS: Duration = Duration::from_secs(300);

/// Octets of what is read of a signal (signalfd(2)).
const SIGNAL: usize = 128;

const STEP: &str = "keeping the port";

/// Keeps the port that `config` names until nothing of it is left to do. Standard input is the keeper's end of the
/// port's line.
///
/// # Errors
/// The step that failed.
pub fn keep(config: &Config) -> Result<(), StartError> {
    let failed = |e: io::Error| StartError::new(STEP, e);
    raise_limit();
    let mut keeper = Keeper::new(config)?;
    begin::ready().map_err(failed)?;
    while keeper.turn().map_err(failed)? {}
    if let Some(runtime) = keeper.runtime {
        runtime.exit();
    }
    Ok(())
}

/// As many descriptors as it may have: whoever uses a connection that was sent to it has a line here.
fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Less room is no reason not to begin.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

struct Keeper<'a> {
    config: &'a Config,
    port: Port,
    /// Our slot, until a stack drives it.
    place: Option<Place>,
    /// The stack, once there was something to do.
    runtime: Option<&'static Runtime>,
    doors: Doors,
    /// Where who takes a slot gets its sockets, where they are not there already.
    desk: Option<Desk>,
    /// Interfaces that come back, where they can be opened again.
    links: Option<Links>,
    /// Those who use it share it.
    shares: bool,
    /// Lines that others hold; one that hangs up is held by nobody.
    lines: Vec<OwnedFd>,
    signals: OwnedFd,
    /// Somebody died while others live: since when.
    died: Option<Instant>,
    /// When it ends at the latest, whoever is left.
    end: Option<Instant>,
    /// A signal has asked it to end soon.
    asked: bool,
}

/// The slot without a stack.
struct Place {
    claimed: Claimed,
    roster: Roster,
    post: Post,
}

impl<'a> Keeper<'a> {
    fn new(config: &'a Config) -> Result<Self, StartError> {
        let failed = |e: io::Error| StartError::new(STEP, e);
        let another =
            || Port::inherited(config).unwrap_or_else(|| Err(StartError::new(STEP, "there is none")));
        let signals = signals::asking().map_err(failed)?;
        let line = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
        let claimed = another()?.claim_keepers()?;
        let roster = Roster::new(another()?, &claimed).map_err(failed)?;
        let post = Post::new(another()?, &claimed).map_err(failed)?;
        let desk = Desk::open(another()?).map_err(failed)?;
        let port = another()?;
        let links = match port.can_be_opened_again().is_empty() {
            true => None,
            false => Some(Links::open().map_err(failed)?),
        };
        Ok(Self {
            config,
            port,
            place: Some(Place { claimed, roster, post }),
            runtime: None,
            doors: Doors::open(&config.interfaces),
            desk,
            links,
            shares: config.share,
            lines: vec![line],
            signals,
            died: None,
            end: None,
            asked: false,
        })
    }

    /// Waits for one thing and attends to it. False at the end.
    fn turn(&mut self) -> io::Result<bool> {
        let timeout = self.timeout().map(|t| Timespec::try_from(t).unwrap_or_default());
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        fds.extend(self.doors.fds().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let doors = fds.len();
        fds.extend(self.lines.iter().map(|fd| PollFd::new(fd, PollFlags::empty())));
        let lines = fds.len();
        if let Some(links) = &self.links {
            fds.push(PollFd::from_borrowed_fd(borrow(links.fd())?, PollFlags::IN));
        }
        let links = fds.len();
        fds.extend(self.desk.iter().map(|desk| PollFd::from_borrowed_fd(desk.inbox(), PollFlags::IN)));
        let desk = fds.len();
        if let Some(place) = &self.place {
            for fd in [place.roster.fd(), place.post.fd()] {
                fds.push(PollFd::from_borrowed_fd(borrow(fd)?, PollFlags::IN));
            }
        }
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let asked = is(&fds[0]);
        let knocked = fds[1..doors].iter().any(is);
        let link = fds[lines..links].iter().any(is);
        let wanted = fds[links..desk].iter().any(is);
        let letter = fds.get(desk + 1).is_some_and(is);
        if asked {
            self.asked = true;
            let _ = rustix::io::read(&self.signals, &mut [0; SIGNAL]);
        }
        if link && self.links.as_ref().is_some_and(Links::changed) {
            self.port.open_again();
        }
        if let Some(desk) = self.desk.as_mut().filter(|_| wanted) {
            desk.serve();
        }
        if letter {
            self.begin_stack()?;
        }
        if knocked && !self.open()? {
            return Ok(false);
        }
        self.forget_lines()?;
        let guests = self.guests()?;
        Ok(!self.is_over(guests))
    }

    /// Forgets the lines that nobody holds any more.
    fn forget_lines(&mut self) -> io::Result<()> {
        let mut fds: Vec<_> = self.lines.iter().map(|fd| PollFd::new(fd, PollFlags::empty())).collect();
        rustix::io::retry_on_intr(|| poll(&mut fds, Some(&Timespec::default())))?;
        let held: Vec<bool> = fds.iter().map(|fd| fd.revents().is_empty()).collect();
        let mut held = held.into_iter();
        self.lines.retain(|_| held.next().unwrap_or(true));
        Ok(())
    }

    fn timeout(&self) -> Option<Duration> {
        if self.lines.is_empty() {
            return Some(LOOK);
        }
        self.died.map(|_| OTHERS)
    }

    /// Who is at the port. The dead are buried by the living; where there are none, or they do not, by us.
    fn guests(&mut self) -> io::Result<Guests> {
        let Some(place) = &mut self.place else { return Ok(self.port.guests()) };
        let guests = place.roster.look();
        if !guests.dead {
            self.died = None;
        } else if guests.living.is_none() || self.died.is_some_and(|at| at.elapsed() >= OTHERS) {
            self.begin_stack()?;
        } else {
            self.died.get_or_insert_with(Instant::now);
        }
        Ok(guests)
    }

    /// From now on a stack drives the slot: its helper thread reads the letters and buries the dead.
    fn begin_stack(&mut self) -> io::Result<()> {
        self.died = None;
        if let Some(Place { claimed, .. }) = self.place.take() {
            self.runtime = Some(Runtime::keep(self.config, claimed)?);
        }
        Ok(())
    }

    /// Answers who knocks. False when the keeper has to go.
    fn open(&mut self) -> io::Result<bool> {
        while let Some((stream, wish)) = self.doors.next() {
            // Others came and went while this one spoke.
            self.forget_lines()?;
            let living = self.guests()?.living;
            // A program that has no stack yet drives no slot, but it holds its line.
            let used = living.is_some() || !self.lines.is_empty();
            let done = match wish {
                Wish::Port { interfaces, frames, processes, backend, share }
                    if self.port.is_of(&interfaces, frames, processes, backend)
                        && (!used || self.shares && share && may_join(&stream)) =>
                {
                    self.shares = share;
                    self.share(&stream, used)
                }
                _ if used => answer(&stream, &Answer::Used(living), &[]),
                Wish::Port { .. } => answer(&stream, &Answer::Another, &[]),
                Wish::Go => {
                    let _ = answer(&stream, &Answer::Going, &[]);
                    // It closes with us.
                    std::mem::forget(stream);
                    return Ok(false);
                }
            };
            if let Err(error) = done {
                tracing::debug!(%error, "answering at the door");
            }
        }
        Ok(true)
    }

    fn share(&mut self, stream: &std::os::unix::net::UnixStream, used: bool) -> io::Result<()> {
        let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let mut all = self.port.shared()?;
        all.push(theirs.as_fd());
        answer(stream, &Answer::Port { count: all.len(), used }, &all)?;
        self.lines.push(ours);
        self.end = None;
        if used { Ok(()) } else { settled(stream) }
    }

    fn is_over(&mut self, guests: Guests) -> bool {
        if !self.lines.is_empty() || guests.living.is_some() {
            return false;
        }
        let patience = if self.asked { self.config.linger } else { PEERS };
        let end = *self.end.get_or_insert_with(|| Instant::now() + patience);
        let end = if self.asked { end.min(Instant::now() + self.config.linger) } else { end };
        self.end = Some(end);
        Instant::now() >= end || !guests.dead && self.runtime.is_none_or(Runtime::is_over)
    }
}
