//! What a process that closes a listener, or ends, has not accepted goes to those that hear the same end.
//!
//! Until another process says that a flow is its own, in the directory that the steering program reads, it is ours and
//! we are silent about it; so a letter that is lost with its reader costs what was in it and nothing else.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::time::Duration;

use af_xdp::Slot;
use stack::engine::{Stack, Taker};
use stack::error::SocketError;
use stack::plain::Plain;
use stack::time::Instant;
use stack::types::{FlowKey, LocalKey, SocketId};

use super::core::Core;
use super::steer::Steer;
use crate::link::Link;
use crate::port::{Letter, Post, RING, borrow};

/// How often to look whether the kernel still knows a listener that no process of the port hears.
const LOOK: Duration = Duration::from_millis(100);
/// Processes that a letter may go through: each found nobody who listens.
const HOPS_MOST: u8 = 8;
/// The first byte of a letter: what a listener had, or what a process has left. The second counts hops.
const UNACCEPTED: u8 = 1;
const ESTATE: u8 = 2;
/// A connection for whoever has the kernel's socket that comes with it, and a line on which somebody asks for such.
const WARD: u8 = 3;
const LINE: u8 = 4;
/// There is something in the log of what the gates saw, for whoever tells of it.
pub(super) const SEEN: u8 = 5;
/// The bell of a slot, whose name follows, for who has rung by a letter ([`RING`]).
const BELL: u8 = 7;
const HEAD: usize = 2;

/// Letters to and fro.
#[derive(Default)]
pub(super) struct Handover {
    post: Option<Post>,
    /// Whose box was full.
    outbox: Vec<(Slot, Vec<u8>, Vec<FlowKey>)>,
    /// Letters of which something was not taken yet: their reader may end before it reads them.
    kept: Vec<Kept>,
    /// What there was no room for.
    inbox: Vec<Letter>,
    /// Who is next.
    turn: u8,
    looked: Instant,
    /// The process ends.
    ends: bool,
}

/// Who has ended before a letter came.
const NOBODY: u64 = 0;

/// A letter that went out.
struct Kept {
    to: Slot,
    addressee: u64,
    letter: Vec<u8>,
    /// What nobody has taken.
    flows: Vec<FlowKey>,
}

impl Handover {
    pub(super) fn with(post: Option<Post>) -> Self {
        Self { post, ..Self::default() }
    }

    /// Whether letters wait for room, here or there.
    fn is_stuck(&self) -> bool {
        !self.outbox.is_empty() || !self.inbox.is_empty() || !self.kept.is_empty()
    }

    /// Whether this process is the keeper.
    pub(super) fn keeps(&self) -> bool {
        self.post.as_ref().is_some_and(Post::keeps)
    }

    /// Wakes who drives a slot and whose bell is not known, and asks for that. Where there is no room for the letter it wakes
    /// to read.
    pub(super) fn ring(&self, to: Slot) {
        if let Some(post) = &self.post {
            let _ = post.send(to, &[RING, 0, post.slot()]);
        }
    }

    fn send(&mut self, to: Slot, letter: Vec<u8>, flows: Vec<FlowKey>) {
        let Some(post) = &self.post else { return };
        match post.send(to, &letter) {
            Ok(_) if flows.is_empty() => {}
            Ok(addressee) => self.kept.push(Kept { to, addressee, letter, flows }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.outbox.push((to, letter, flows)),
            Err(error) if flows.is_empty() => tracing::debug!(to, %error, "a letter was lost"),
            // It has ended just now: others take them.
            Err(_) => self.kept.push(Kept { to, addressee: NOBODY, letter, flows }),
        }
    }

    /// Sends what found no room, and what its reader did not live to read.
    fn send_again(&mut self, steer: &dyn Steer) {
        for (to, letter, flows) in std::mem::take(&mut self.outbox) {
            self.send(to, letter, flows);
        }
        for mut kept in std::mem::take(&mut self.kept) {
            kept.flows.retain(|flow| steer.holds(flow));
            let Some(first) = kept.flows.first() else { continue };
            let home = self.post.as_ref().is_some_and(|post| post.is_home(kept.to, kept.addressee));
            match if home { None } else { self.taker(steer, first.local) } {
                Some(mate) => self.send(mate, kept.letter, kept.flows),
                None => self.kept.push(kept),
            }
        }
    }

    /// Another process that hears what is sent to `local`, each in its turn.
    fn mate(&mut self, steer: &dyn Steer, local: SocketAddr) -> Option<Slot> {
        self.next_of(&self.mates(steer, local, Post::is_inhabited))
    }

    /// All that hear it and are `fit`. Dear: the kernel is asked about each.
    fn mates(&self, steer: &dyn Steer, local: SocketAddr, fit: fn(&Post, Slot) -> bool) -> Vec<Slot> {
        let Some(post) = &self.post else { return Vec::new() };
        let others = steer.hearers(local).without(post.slot());
        others.into_iter().filter(|slot| fit(post, *slot)).collect()
    }

    fn next_of(&mut self, mates: &[Slot]) -> Option<Slot> {
        self.turn = self.turn.wrapping_add(1);
        mates.get(usize::from(self.turn) % mates.len().max(1)).copied()
    }

    /// Who takes what waits for `local` here: a mate, and where a process ends that nobody else hears, the keeper. Whoever comes
    /// next may be waiting for that end (a server that has as many processes as it may).
    fn taker(&mut self, steer: &dyn Steer, local: SocketAddr) -> Option<Slot> {
        self.mate(steer, local).or_else(|| self.last_resort())
    }

    /// The keeper, where this process ends.
    fn last_resort(&self) -> Option<Slot> {
        if self.ends { self.keeper() } else { None }
    }

    /// The keeper, if that is another process.
    fn keeper(&self) -> Option<Slot> {
        self.post.as_ref().and_then(Post::keeper)
    }
}

impl Core {
    /// The descriptor that is readable when a letter has come.
    pub(super) fn letters_fd(&self) -> Option<i32> {
        self.handover.post.as_ref().map(Post::fd)
    }

    /// The application closes a socket. A listener stays for what waits in it, where others could take that.
    pub(crate) fn close(&mut self, now: Instant, id: SocketId) {
        if self.handover.post.is_none() || self.stack.leave(now, id).is_err() {
            let _ = self.stack.close(now, id);
            return;
        }
        self.pulse.moves(true);
        self.drain();
        self.handover.looked = Instant::ZERO;
        self.hand_over(now);
    }

    /// The process ends: every listener closes.
    pub(super) fn leave(&mut self, now: Instant) {
        if self.handover.post.is_some() {
            self.handover.ends = true;
            self.stack.leave_all(now);
            self.drain();
        }
    }

    /// Hands over what can be, and gives up what nobody will take.
    pub(super) fn hand_over(&mut self, now: Instant) {
        // Who ends may not come to look again.
        self.stack.release_held();
        self.handover.send_again(&*self.steer);
        if self.stack.has_leavers() {
            self.pass_round(Post::is_inhabited, |stack, address| stack.hand_over(now, address));
            if now.since(self.handover.looked) >= LOOK {
                self.handover.looked = now;
                self.give_up(now);
            }
        }
        if !self.handover.inbox.is_empty() {
            // A stack with little to do has few, and would never draw as many as it takes.
            for link in &mut self.links {
                link.nic.fetch(self.stack.pool_mut());
            }
        }
        for rest in std::mem::take(&mut self.handover.inbox) {
            self.open(now, rest);
        }
        self.pulse.moves(self.stack.has_leavers() || self.handover.is_stuck());
    }

    /// Connections have waited here for long: another may take them.
    #[cold]
    pub(super) fn offer(&mut self, now: Instant) {
        // One that is stopped (a debugger's) would keep it.
        self.pass_round(Post::is_at_work, |stack, address| stack.offer(now, address));
        // Letters may be read late, and the helper looks after them.
        self.pulse.moves(self.stack.has_leavers() || self.handover.is_stuck());
    }

    /// Sends what the stack lets go to others that hear it and are `fit`, each in its turn.
    fn pass_round(
        &mut self,
        fit: fn(&Post, Slot) -> bool,
        let_go: impl FnOnce(&mut Stack, &mut dyn FnMut(&FlowKey) -> Option<Slot>) -> BTreeMap<Slot, Vec<u8>>,
    ) {
        let (handover, steer) = (&mut self.handover, &*self.steer);
        let mut flows: BTreeMap<Slot, Vec<FlowKey>> = BTreeMap::new();
        let keeper = handover.last_resort();
        // Thousands may wait for one end: who hears it is looked up once.
        let mut known = BTreeMap::new();
        // A flow that another stack has meanwhile is not ours to give: its peer asked twice, and was heard twice.
        let letters = let_go(&mut self.stack, &mut |key| {
            if !steer.holds(key) {
                return None;
            }
            let mates = known.entry(key.local).or_insert_with(|| handover.mates(steer, key.local, fit));
            let to = handover.next_of(mates).or(keeper);
            to.inspect(|to| flows.entry(*to).or_default().push(*key))
        });
        for (to, body) in letters {
            self.handover.send(to, headed(UNACCEPTED, 0, &body), flows.remove(&to).unwrap_or_default());
        }
    }

    /// Ends the listeners that nobody else hears, unless the kernel knows one there: then some process holds it and
    /// may come yet (a server that is about to start its new workers), for what waits and for what was steered here and has not
    /// been read.
    fn give_up(&mut self, now: Instant) {
        for (id, key) in self.stack.leavers() {
            let hope = self.is_heard(&key) || self.stack.may_wait(now, id) && kernel_listens(key.port);
            if !hope {
                self.stack.give_up(now, id);
            }
        }
    }

    /// Whether another process hears what is sent to `key`.
    fn is_heard(&mut self, key: &LocalKey) -> bool {
        let ends = self.steer.ends(key);
        ends.into_iter().any(|local| self.handover.mate(&*self.steer, local).is_some())
    }

    /// The kernel's socket of a listener that was [closed](Core::close) is closed, too: what no process holds any more
    /// is given up now.
    pub(crate) fn settle_leavers(&mut self, now: Instant) {
        if self.stack.has_leavers() {
            self.handover.looked = Instant::ZERO;
            self.hand_over(now);
        }
    }

    /// Whether something has to be handed over yet, or nobody has taken it.
    pub(super) fn is_handing_over(&self) -> bool {
        let waits = self.stack.leavers().iter().any(|(id, _)| self.stack.waiting(*id) > 0);
        waits || self.handover.is_stuck() || self.stack.departed().any(|key| self.steer.holds(&key))
    }

    /// Reads the letters that have come.
    pub(super) fn read_letters(&mut self, now: Instant) {
        while let Some(letter) = self.handover.post.as_ref().and_then(Post::receive) {
            self.open(now, letter);
        }
        if let Some(mates) = &self.mates {
            mates.rouse();
        }
        self.pulse.moves(self.stack.has_leavers() || self.handover.is_stuck());
    }

    /// The process ends: what is nobody's any more is the keeper's.
    ///
    /// # Errors
    /// `NotFound` when there is no keeper, `WouldBlock` when it has too many letters to read: all stays here.
    pub(super) fn bequeath(&mut self, now: Instant) -> io::Result<()> {
        let keeper = self.handover.post.as_ref().and_then(|post| Some((post.keeper()?, post)));
        let (keeper, post) = keeper.ok_or(io::ErrorKind::NotFound)?;
        let mut letter = vec![ESTATE, 0];
        let flows = self.stack.bequeath(now, &mut letter);
        if flows.is_empty() {
            return Ok(());
        }
        if let Err(error) = post.send(keeper, &letter) {
            self.open(now, letter.into());
            return Err(error);
        }
        self.lead(&flows, keeper);
        Ok(())
    }

    /// The process ends: what it has sent to others and they have not taken yet leads to the keeper until they have.
    ///
    /// # Errors
    /// `NotFound` when there is no keeper, `WouldBlock` when it has too many letters to read.
    pub(super) fn bequeath_departed(&mut self) -> io::Result<()> {
        let mut letter = vec![ESTATE, 0];
        let flows = self.stack.bequeath_departed(|key| self.steer.holds(key), &mut letter);
        if flows.is_empty() {
            return Ok(());
        }
        let keeper = self.handover.post.as_ref().and_then(|post| Some((post.keeper()?, post)));
        let (keeper, post) = keeper.ok_or(io::ErrorKind::NotFound)?;
        post.send(keeper, &letter)?;
        self.lead(&flows, keeper);
        Ok(())
    }

    /// Leads flows to the keeper, which was written to of them: what arrives there from now on arrives after the letter.
    fn lead(&mut self, flows: &[FlowKey], keeper: Slot) {
        for flow in flows {
            if let Err(error) = self.steer.lead(flow, keeper) {
                tracing::warn!(?flow, %error, "steering");
            }
        }
    }

    /// Whether nothing is left that this process, which is the keeper, could do for anybody.
    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        self.read_letters(now);
        self.stack.is_over() && !self.handover.is_stuck() && !self.bereaved
    }

    /// Where letters to the keeper go, if there is one.
    pub(super) fn keepers_door(&self) -> Option<BorrowedFd<'static>> {
        let post = self.handover.post.as_ref()?;
        post.keeper()?;
        post.keepers_door().ok()
    }

    fn open(&mut self, now: Instant, letter: Letter) {
        match &letter.body[..] {
            [UNACCEPTED, hops, body @ ..] => self.open_unaccepted(now, *hops, body),
            [ESTATE, _, body @ ..] => self.open_estate(now, body),
            [WARD, _, body @ ..] if self.keeps => self.open_ward(now, body, letter.beside),
            [LINE, _, body @ ..] if self.keeps => self.open_line(now, body, letter.beside),
            [SEEN, ..] => self.refuses(),
            [RING, _, from] => self.give_bell(*from),
            [BELL, _, slot, name @ ..] => {
                if let (Some(mates), Some(bell), Ok(name)) =
                    (&mut self.mates, letter.beside, <[u8; 8]>::try_from(name))
                {
                    mates.learn(*slot, u64::from_le_bytes(name), bell);
                }
            }
            _ => {}
        }
    }

    /// Tells our bell to who has rung by a letter. Who does not get it asks again.
    fn give_bell(&self, to: Slot) {
        let (Some(post), Some(mates)) = (&self.handover.post, &self.mates) else { return };
        let (bell, name) = mates.bell();
        let _ = post.send_with(to, &[&[BELL, 0, post.slot()], &name.to_le_bytes()[..]].concat(), bell);
    }

    /// Has the keeper answer an heir in this process's place, on our end of the line to it: what the heir calls each
    /// connection, the keeper's name for it, and the connection, unless that went with another heir's line.
    ///
    /// # Errors
    /// As of [`Core::line_to_keeper`].
    pub(super) fn leave_to_heir(&self, line: &Link, all: &[(u64, u64, Option<Vec<u8>>)]) -> io::Result<()> {
        let mut body = Vec::new();
        (all.len() as u32).put(&mut body);
        for (said, name, letter) in all {
            (*said, *name).put(&mut body);
            letter.put(&mut body);
        }
        self.tell_keeper(LINE, &body, line.as_fd())
    }

    /// Writes to the keeper, with a descriptor.
    fn tell_keeper(&self, kind: u8, body: &[u8], beside: BorrowedFd<'_>) -> io::Result<()> {
        let post = self.handover.post.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let keeper = post.keeper().ok_or(io::ErrorKind::NotFound)?;
        post.send_with(keeper, &headed(kind, 0, body), beside).map(|_| ())
    }

    /// Has the keeper hold a connection for whoever has the descriptor `backing`, which bears its `name`.
    ///
    /// # Errors
    /// `NotConnected` when it cannot travel, `NotFound` when there is no keeper, `WouldBlock` when that has too many letters to
    /// read. It is here still then, as the socket in the answer if that is another one.
    pub(super) fn entrust(
        &mut self,
        now: Instant,
        (id, cookie): (SocketId, u64),
        name: u64,
        backing: RawFd,
    ) -> Result<(), (io::Error, Option<SocketId>)> {
        let backing = borrow(backing).map_err(|error| (error, None))?;
        let mut body = name.to_ne_bytes().to_vec();
        let left = self.stack.export(now, id, &mut body);
        left.map_err(|_| (io::ErrorKind::NotConnected.into(), None))?;
        // The flow is led there by the keeper: when we are back from this call, another process may have it already.
        self.tell_keeper(WARD, &body, backing).map_err(|error| {
            let parcel = &mut &body[size_of::<u64>()..];
            let back = self.stack.import(now, parcel, Taker::Application(cookie)).ok();
            (error, back.map(|back| back.id))
        })
    }

    /// A new line to the keeper, to ask on for connections that it holds.
    ///
    /// # Errors
    /// As of [`Core::entrust`].
    pub(super) fn line_to_keeper(&self) -> io::Result<Link> {
        let [line, end] = Link::pair()?;
        self.tell_keeper(LINE, &[], end.as_fd())?;
        Ok(line)
    }

    fn open_estate(&mut self, now: Instant, mut rest: &[u8]) {
        while !rest.is_empty() {
            match self.stack.inherit(now, &mut rest) {
                Ok(()) => {}
                Err(SocketError::NoBuffers) => {
                    return self.handover.inbox.push(headed(ESTATE, 0, rest).into());
                }
                Err(error) => tracing::debug!(%error, "what another process left was not taken"),
            }
        }
    }

    fn open_unaccepted(&mut self, now: Instant, hops: u8, body: &[u8]) {
        let mut rest = body;
        while !rest.is_empty() {
            let before = rest;
            match self.stack.take_over(now, &mut rest) {
                Ok(()) => {}
                Err(SocketError::NoBuffers) => {
                    self.handover.inbox.push(headed(UNACCEPTED, hops, rest).into());
                    return;
                }
                Err(SocketError::ConnectionRefused) if hops < HOPS_MOST => {
                    self.pass_on_unaccepted(now, hops, &before[..before.len() - rest.len()]);
                }
                Err(error) => tracing::debug!(%error, "what another process had was not taken"),
            }
        }
    }
}

impl Core {
    /// Nobody listens here for the connection of a letter, or no more: whoever does has it, and while nobody does it waits with
    /// the keeper.
    fn pass_on_unaccepted(&mut self, now: Instant, hops: u8, mut item: &[u8]) {
        let to = Stack::end_of(item).and_then(|local| self.handover.mate(&*self.steer, local));
        if let Some(to) = to.or_else(|| self.handover.keeper()) {
            self.handover.send(to, headed(UNACCEPTED, hops + 1, item), Vec::new());
        } else if self.keeps {
            match self.stack.take_in(now, &mut item) {
                Ok(()) => {}
                Err(SocketError::NoBuffers) => {
                    self.handover.inbox.push(headed(UNACCEPTED, hops, item).into());
                }
                Err(error) => tracing::debug!(%error, "what another process had cannot wait"),
            }
        }
    }
}

fn headed(kind: u8, hops: u8, body: &[u8]) -> Vec<u8> {
    let mut letter = Vec::with_capacity(HEAD + body.len());
    letter.extend([kind, hops]);
    letter.extend_from_slice(body);
    letter
}

/// Whether the kernel has a listening socket at this port, whoever holds it.
fn kernel_listens(port: u16) -> bool {
    let tables =
        ["/proc/self/net/tcp", "/proc/self/net/tcp6"].into_iter().filter_map(|path| File::open(path).ok());
    tables.map(BufReader::new).any(|table| listeners(table).any(|at| at == port))
}

/// The ports of the listeners in a table of proc_pid_net_tcp(5). They come first in it; connections, of which there may be very
/// many, are not read.
fn listeners(table: impl BufRead) -> impl Iterator<Item = u16> {
    table.lines().skip(1).map_while(|line| listener_at(&line.ok()?))
}

/// The port of a line of such a table, if it is a listener's: `sl: local_address remote_address state …`, in hexadecimal.
fn listener_at(line: &str) -> Option<u16> {
    const LISTEN: &str = "0A";
    let mut words = line.split_ascii_whitespace().skip(1);
    let (local, _, state) = (words.next()?, words.next()?, words.next()?);
    let (_, port) = local.rsplit_once(':').filter(|_| state == LISTEN)?;
    u16::from_str_radix(port, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rustix::net::{AddressFamily, SocketType};

    use super::super::tests::runtime;
    use super::*;

    #[test]
    fn the_listeners_of_a_table_are_read_and_no_more() {
        let line = |port: &str, state: &str| {
            format!(
                "   0: 0100007F:{port} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  0 0 1 1\n"
            )
        };
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        let table =
            [head, &line("0050", "0A"), &line("1F90", "0A"), &line("0051", "01"), &line("0052", "0A")]
                .concat();
        assert_eq!(listeners(table.as_bytes()).collect::<Vec<_>>(), [80, 8080]);
        assert_eq!(listeners(head.as_bytes()).next(), None);
        assert_eq!(listeners(&b""[..]).next(), None);
    }

    /// A socket that has a port in both families, so that nobody else listens there, and does not listen yet.
    fn bound() -> (TcpListener, u16) {
        let socket = rustix::net::socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
        rustix::net::sockopt::set_ipv6_v6only(&socket, false).unwrap();
        rustix::net::bind(&socket, &SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0))).unwrap();
        let socket = TcpListener::from(socket);
        let port = socket.local_addr().unwrap().port();
        (socket, port)
    }

    #[test]
    fn the_kernel_tells_who_listens() {
        let (socket, port) = bound();
        assert!(!kernel_listens(port));
        rustix::net::listen(&socket, 1).unwrap();
        assert!(kernel_listens(port));
    }

    /// A server's old worker closes its listener before a new one hears: what it has not read yet is not refused.
    #[test]
    fn an_empty_listener_stays_while_another_process_may_come() {
        let (runtime, _, _) = runtime();
        let mut turn = runtime.lock();
        let now = turn.now();
        let core = turn.core();
        let (held, port) = bound();
        rustix::net::listen(&held, 1).unwrap();
        let (_not_held, other) = bound();
        for port in [port, other] {
            let id = core.stack.tcp_socket(1).unwrap();
            core.stack.bind(id, SocketAddr::from(([0, 0, 0, 0], port))).unwrap();
            core.stack.listen(id, 1).unwrap();
            core.stack.leave(now, id).unwrap();
        }
        core.give_up(now);
        let ports = |core: &Core| core.stack.leavers().iter().map(|(_, key)| key.port).collect::<Vec<_>>();
        assert_eq!(ports(core), [port]);
        core.give_up(now + Duration::from_secs(1));
        assert!(ports(core).is_empty(), "nobody came");
    }
}
