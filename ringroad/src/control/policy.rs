//! The asking end of what concerns policies: shows what is in force, and puts another in its place everywhere. A policy
//! is about addresses: everywhere is every stack of our network namespace that is ours to change. Root's word is for all of
//! them, but only its own may object, and its own are changed first: what another user's stack says or does not say keeps it
//! from no other. A user's is for that user's stacks.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client;
use super::contact::{Address, Contact, Place};
use super::model::{Applied, PolicyInForce};
use super::strangers::ask_each;
use crate::peer::has_ended;
use crate::policy_file::{Bundle, PolicyFile, Sealed};
use crate::wire::{Timed, hear, send};

/// How long a stack may take to understand a policy, and how long to put it in force.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long other users' stacks may take for each, all of them together: less than one of them waits to hear more.
const OTHERS: Duration = Duration::from_secs(10);
/// How long they may take from the first question to the last answer, however many come meanwhile.
const OTHERS_IN_ALL: Duration = Duration::from_secs(30);
/// So often it is looked who of other users has come meanwhile: there may be no end of them.
const LOOKS: usize = 8;
/// How long a stack may take to end the connection once nothing more is said.
const FAREWELL: Duration = Duration::from_secs(1);
/// The longest line with which it answers, and the longest answer with policies: there are two.
const LINE: usize = 1 << 16;
const POLICIES: usize = (256 << 20) + LINE;

/// A process that did not take a policy, and what it says.
pub type Refusal = (u32, String);

/// Where a policy is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InForce {
    /// The processes.
    pub pids: Vec<u32>,
    /// Processes of other users that refused it, or did not answer.
    pub refused: Vec<Refusal>,
    /// Stacks that are not known, as those of PID namespaces that ours does not see: they were not asked.
    pub unseen: usize,
}

/// Why a policy is not in force everywhere.
#[derive(Debug)]
pub enum ApplyError {
    /// No stack runs that is ours to change, but for so many that are not known.
    Nobody(usize),
    /// These refused it, or do not answer. Nothing was changed anywhere.
    Refused(Vec<Refusal>),
    /// This process had agreed and then failed; `done` have the new policy.
    Halfway {
        /// The process.
        pid: u32,
        /// What it says.
        why: String,
        /// Processes in which the policy is in force.
        done: Vec<u32>,
    },
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody(0) => write!(f, "no stack runs on this host that is yours to change"),
            Self::Nobody(unseen) => write!(f, "{unseen} stacks cannot be seen from here: nobody was asked"),
            Self::Refused(by) => {
                let said: Vec<String> = by.iter().map(|(pid, why)| format!("process {pid}: {why}")).collect();
                write!(f, "nothing was changed: {}", said.join("; "))
            }
            Self::Halfway { pid, why, done } if done.is_empty() => {
                write!(f, "process {pid}, which had agreed: {why}; no other is known to have the new policy")
            }
            Self::Halfway { pid, why, done } => {
                write!(f, "process {pid}: {why}; the new policy is in force in {done:?} and not there")
            }
        }
    }
}

impl std::error::Error for ApplyError {}

/// The policies of every stack that runs, or of that of `pid`; those that do not answer are left out, and those of other
/// users that do not in time.
pub fn in_force(pid: Option<u32>) -> Vec<PolicyInForce> {
    let (us, mut by_user) = (us(), BTreeMap::<u32, Vec<_>>::new());
    for contact in Contact::here(pid) {
        let user = contact.user();
        by_user.entry(user).or_default().push((user, contact.later()));
    }
    let until = Instant::now() + OTHERS;
    let ask = |(user, address): (u32, Address)| {
        let pid = address.pid;
        let contact = (user == us || Instant::now() < until).then(|| address.contact().ok())??;
        let told: PolicyInForce = client::ask(contact, "policy", POLICIES).ok()?;
        Some(PolicyInForce { pid, ..told })
    };
    let mut all: Vec<PolicyInForce> = ask_each(by_user, ask).into_iter().flatten().collect();
    all.sort_by_key(|told| told.pid);
    all
}

/// Puts what `policy` says in force in every stack that is ours to change: what was compiled here is what they all judge by.
///
/// # Errors
/// [`ApplyError`].
pub fn put_in_force(policy: &PolicyFile) -> Result<InForce, ApplyError> {
    let request = request_of(Sealed::of(policy));
    Proposal::new(move |_| Some(request.clone())).put_in_force()
}

/// Puts in force, in every stack that is ours to change, what was in force there before.
///
/// # Errors
/// [`ApplyError`]; all of our own must say that there was one, also those that come meanwhile.
pub fn roll_back() -> Result<InForce, ApplyError> {
    // Those of one port have one.
    let mut known: Vec<(Option<Bundle>, Request)> = Vec::new();
    let before = |told: PolicyInForce| {
        let same = known.iter().find(|(bundle, _)| *bundle == told.previous);
        let request = same.map(|(_, request)| request.clone()).unwrap_or_else(|| {
            let request = told.previous.clone().map_or_else(
                || Err("there was no policy before this one".to_owned()),
                |bundle| request_of(sealed(bundle)),
            );
            known.push((told.previous, request.clone()));
            request
        });
        (told.pid, request)
    };
    let before: BTreeMap<u32, Request> = in_force(None).into_iter().map(before).collect();
    Proposal::new(move |pid| before.get(&pid).cloned()).put_in_force()
}

/// The policy that a stack is sent; or why there is nothing to send.
type Request = Result<Arc<Sealed>, String>;

/// A stack of another user's, with that user, and what it is to be sent.
type Other = (u32, (Address, Request));

fn us() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn request_of(policy: io::Result<Sealed>) -> Request {
    policy.map(Arc::new).map_err(|error| error.to_string())
}

/// What was in force somewhere; where that is not understood here it may be there.
fn sealed(bundle: Bundle) -> io::Result<Sealed> {
    match PolicyFile::without_warnings(bundle.clone()) {
        Ok(file) => Sealed::of(&file),
        Err(_) => Sealed::of_text(&bundle),
    }
}

/// A policy that every stack of our own was asked about; forgotten where it is not put in force.
struct Proposal {
    /// What each process is to be asked; nothing: that is not known.
    request: Box<dyn Fn(u32) -> Option<Request>>,
    /// The user whose the caller is.
    us: u32,
    /// How often it was looked who is there.
    looks: usize,
    /// Where somebody was asked, or is going to be.
    known: Vec<Place>,
    own: Vec<(u32, io::Result<Asked>)>,
    /// Those of other users, by user.
    others: BTreeMap<u32, Vec<Other>>,
    /// When there is no more time for these, once they are asked.
    end: Option<Instant>,
    told: InForce,
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proposal").field("told", &self.told).finish_non_exhaustive()
    }
}

impl Proposal {
    fn new(request: impl Fn(u32) -> Option<Request> + 'static) -> Self {
        let mut proposal = Self::by(us(), request);
        proposal.look();
        proposal
    }

    /// One of a user's that nobody was asked about yet.
    fn by(us: u32, request: impl Fn(u32) -> Option<Request> + 'static) -> Self {
        Self {
            request: Box::new(request),
            us,
            looks: 0,
            known: Vec::new(),
            own: Vec::new(),
            others: BTreeMap::new(),
            end: None,
            told: InForce::default(),
        }
    }

    /// Finds who was not asked yet. Our own are asked at once.
    fn look(&mut self) {
        self.told.unseen = 0;
        for contact in Contact::elsewhere(&self.known) {
            let (pid, user) = (contact.pid, contact.user());
            let is_own = user == self.us;
            self.told.unseen += usize::from(pid == 0 && (is_own || self.us == 0));
            let is_ours = is_own || (self.us == 0 && self.looks < LOOKS);
            if !is_ours || self.has(pid) || !contact.is_here() {
                continue;
            }
            let request = match (self.request)(pid) {
                Some(request) => request,
                None if is_own => Err("it did not say what was in force before; try again".to_owned()),
                None => continue,
            };
            self.known.push(contact.place());
            if is_own {
                self.own.push((pid, Asked::ask(contact, request, None)));
            } else {
                self.others.entry(user).or_default().push((user, (contact.later(), request)));
            }
        }
        self.looks += 1;
    }

    /// Whether a process was told, or is one of our own that was asked.
    fn has(&self, pid: u32) -> bool {
        self.told.has(pid) || self.own.iter().any(|(own, _)| *own == pid)
    }

    /// Puts the policy in force everywhere, if none of our own objects.
    ///
    /// # Errors
    /// [`ApplyError`].
    fn put_in_force(mut self) -> Result<InForce, ApplyError> {
        // Who has come since the others were asked may object, too.
        self.look();
        while !self.own.is_empty() || !self.others.is_empty() {
            self.change()?;
            // Who has come meanwhile may have read what was in force before.
            self.look();
        }
        self.told.pids.sort_unstable();
        self.told.refused.sort_unstable();
        self.told.all()
    }

    /// Changes whoever was found. Our own come first: they wait for nobody who may be slow on purpose.
    fn change(&mut self) -> Result<(), ApplyError> {
        self.change_own()?;
        let end = *self.end.get_or_insert_with(|| Instant::now() + OTHERS_IN_ALL);
        let in_time = || end.min(Instant::now() + OTHERS);
        let (until, mut agreed) = (in_time(), BTreeMap::<u32, Vec<_>>::new());
        let ask = |(user, next)| (user, prepare(next, until));
        for (user, (pid, asked)) in ask_each(std::mem::take(&mut self.others), ask) {
            match asked {
                Ok(asked) => agreed.entry(user).or_default().push((pid, asked)),
                Err(error) => self.told.refuse(pid, &error),
            }
        }
        let until = in_time();
        for (pid, done) in ask_each(agreed, |(pid, asked): (u32, Asked)| (pid, asked.within(until))) {
            match done {
                Ok(()) => self.told.pids.push(pid),
                Err(error) => self.told.refuse(pid, &error),
            }
        }
        Ok(())
    }

    /// Changes those of our own that were asked, when all agree.
    fn change_own(&mut self) -> Result<(), ApplyError> {
        let done = &mut self.told.pids;
        let mut ready = Vec::with_capacity(self.own.len());
        for (pid, asked) in self.own.drain(..) {
            match asked.and_then(Asked::agree) {
                Ok(asked) => ready.push((pid, asked)),
                Err(error) if is_gone(pid, &error) => {}
                Err(error) if done.is_empty() => {
                    return Err(ApplyError::Refused(vec![(pid, error.to_string())]));
                }
                Err(error) => return Err(halfway(pid, &error, done)),
            }
        }
        let going: Vec<io::Result<()>> = ready.iter().map(|(_, asked)| asked.commit()).collect();
        let mut first = None;
        for ((pid, asked), going) in ready.iter_mut().zip(going) {
            match going.and_then(|()| asked.answer()) {
                Ok(()) => done.push(*pid),
                Err(error) if is_gone(*pid, &error) => {}
                Err(error) => first = first.or(Some((*pid, error))),
            }
            asked.hang_up();
        }
        first.map_or(Ok(()), |(pid, error)| Err(halfway(pid, &error, done)))
    }
}

/// Whether whoever gave no answer is no longer there, and so has nothing to say.
fn is_gone(pid: u32, error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionReset, NotFound, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotFound | UnexpectedEof) && has_ended(pid)
}

/// A process had agreed, or was found when others had changed.
fn halfway(pid: u32, error: &io::Error, done: &[u32]) -> ApplyError {
    ApplyError::Halfway { pid, why: error.to_string(), done: done.to_vec() }
}

/// Has another user's stack understand what it is to have.
fn prepare((address, request): (Address, Request), until: Instant) -> (u32, io::Result<Asked>) {
    let (pid, contact) = (address.pid, address.contact());
    (pid, contact.and_then(|contact| Asked::ask(contact, request, Some(until))).and_then(Asked::agree))
}

impl InForce {
    fn has(&self, pid: u32) -> bool {
        self.pids.contains(&pid) || self.refused.iter().any(|(refused, _)| *refused == pid)
    }

    /// Another user's process does not have it, if it is still there.
    fn refuse(&mut self, pid: u32, why: &io::Error) {
        if !is_gone(pid, why) {
            self.refused.push((pid, why.to_string()));
        }
    }

    /// When everybody was asked.
    fn all(self) -> Result<Self, ApplyError> {
        match (self.pids.is_empty(), self.refused.is_empty()) {
            (false, _) => Ok(self),
            (true, true) => Err(ApplyError::Nobody(self.unseen)),
            (true, false) => Err(ApplyError::Refused(self.refused)),
        }
    }
}

/// A stack that was sent a policy, and says whether it understands it, then what came of it.
struct Asked {
    stream: UnixStream,
    /// When there is no more time for it; none: as much as it needs.
    until: Option<Instant>,
    /// Whether the last answer has come, after which the stack is free for whoever comes next.
    is_over: bool,
}

impl Asked {
    fn ask(contact: Contact, request: Request, until: Option<Instant>) -> io::Result<Self> {
        let request = request.map_err(io::Error::other)?;
        let mut asked = Self { stream: contact.dial()?, until, is_over: false };
        let files = request.files();
        let line = format!("adopt {}\n", files.len());
        let sent =
            asked.timed(PATIENCE).write_all(line.as_bytes()).and_then(|()| send(&asked.stream, &files));
        match sent {
            // A refusal may come before all is written.
            Err(error) => asked.answer().and(Err(error)),
            Ok(()) => Ok(asked),
        }
    }

    fn agree(mut self) -> io::Result<Self> {
        self.answer().map(|()| self)
    }

    fn commit(&self) -> io::Result<()> {
        self.timed(PATIENCE).write_all(b"commit\n")
    }

    /// Both, until then.
    fn within(mut self, until: Instant) -> io::Result<()> {
        self.until = Some(until);
        self.commit().and_then(|()| self.answer())
    }

    fn answer(&mut self) -> io::Result<()> {
        let answer: Applied = hear(self.timed(PATIENCE), LINE)?;
        self.is_over = answer.error.is_some() || answer.generation.is_some();
        answer.error.map_or(Ok(()), |error| Err(io::Error::other(error)))
    }

    /// Nothing more is to be said.
    fn hang_up(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The connection, for something that may take so long.
    fn timed(&self, most: Duration) -> Timed<'_> {
        let left = |until: Instant| most.min(until.saturating_duration_since(Instant::now()));
        Timed::new(&self.stream, self.until.map_or(most, left))
    }
}

impl Drop for Asked {
    /// Whoever was not asked to the end is free when the connection is over.
    fn drop(&mut self) {
        if !self.is_over {
            self.hang_up();
            let _ = io::copy(&mut self.timed(FAREWELL).take(LINE as u64), &mut io::sink());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// A proposal that nobody was asked about, to a user of whom there is no process.
    fn nobody() -> Proposal {
        Proposal::by(u32::MAX - 1, |_| None)
    }

    /// A stack that was asked, and its end of the connection.
    fn asked() -> (Asked, UnixStream) {
        let (stream, theirs) = UnixStream::pair().unwrap();
        (Asked { stream, until: None, is_over: false }, theirs)
    }

    #[test]
    fn our_own_are_changed_before_others_are_asked() {
        let dir = tempfile::tempdir().unwrap();
        let silent = UnixListener::bind(dir.path().join("1.sock")).unwrap();
        let address = Contact::within(&[dir.path().to_owned()], &[]).next().unwrap().later();
        let (_looked, _) = silent.accept().unwrap();
        silent.set_nonblocking(true).unwrap();

        let mut proposal = nobody();
        let (own, mut theirs) = asked();
        theirs.write_all(b"{\"error\":\"I will not\"}\n").unwrap();
        proposal.own.push((7, Ok(own)));
        proposal.others.insert(1, vec![(1, (address, request_of(Sealed::of_text(&Bundle::default()))))]);
        let refused = proposal.change().unwrap_err();
        assert_eq!(refused.to_string(), "nothing was changed: process 7: I will not");
        assert_eq!(silent.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn who_has_ended_refuses_nothing() {
        // Nobody has this number. A child that ends would have it, but until it executes it has what tests beside this
        // one have open, too.
        let ended = u32::MAX;
        let mut proposal = nobody();
        proposal.told.refuse(ended, &ErrorKind::NotFound.into());
        // One ends before it agrees, and one after that.
        let (early, late) = (asked(), asked());
        drop(early.1);
        let says = thread::spawn(move || (&late.1).write_all(b"{}\n").unwrap());
        proposal.own.extend([(ended, Ok(early.0)), (ended, Ok(late.0))]);
        proposal.change().unwrap();
        says.join().unwrap();
        assert!(matches!(proposal.told.all(), Err(ApplyError::Nobody(0))));

        // Who lives and hangs up has refused.
        let (own, theirs) = asked();
        drop(theirs);
        let mut proposal = nobody();
        proposal.own.push((std::process::id(), Ok(own)));
        assert!(matches!(proposal.change(), Err(ApplyError::Refused(_))));
        proposal.told.refuse(std::process::id(), &ErrorKind::NotFound.into());
        assert_eq!(proposal.told.refused.len(), 1);
    }

    #[test]
    fn the_last_answer_is_known_as_such() {
        for (answer, is_over) in
            [("{}", false), ("{\"generation\":2}", true), ("{\"error\":\"I will not\"}", true)]
        {
            let (mut own, mut theirs) = asked();
            writeln!(theirs, "{answer}").unwrap();
            assert_eq!(own.answer().is_err(), answer.contains("error"));
            assert_eq!(own.is_over, is_over, "{answer}");
        }
    }

    #[test]
    fn where_it_ended_halfway_is_told_in_words() {
        let halfway = |done| ApplyError::Halfway { pid: 7, why: "no".into(), done }.to_string();
        assert_eq!(halfway(vec![8]), "process 7: no; the new policy is in force in [8] and not there");
        assert_eq!(
            halfway(vec![]),
            "process 7, which had agreed: no; no other is known to have the new policy"
        );
    }
}
