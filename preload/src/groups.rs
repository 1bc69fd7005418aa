//! Groups: memberships are the kernel socket's, and what it joined the stack hears too.
//!
//! Every call goes to the kernel's socket first, so that IGMP, MLD, limits and errno are its own. What it took is
//! noted here, by the words of the call, until the socket is attached to the stack, and told to the stack then.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::collections::HashMap;

use libc::{IPPROTO_IP, IPPROTO_IPV6, c_int};
use ringroad::runtime::Turn;
use stack::types::{IfaceId, SocketId};
use stack::udp::Change;

use crate::fdtable::{Flag, Held, Word};
use crate::reason::Reason;
use crate::user::{Fault, Place, from_c};
use crate::{kernel, state};

const IP_MULTICAST_IF: c_int = 32;
const IP_ADD_MEMBERSHIP: c_int = 35;
const IP_DROP_MEMBERSHIP: c_int = 36;
const IP_UNBLOCK_SOURCE: c_int = 37;
const IP_DROP_SOURCE_MEMBERSHIP: c_int = 40;
const IP_MSFILTER: c_int = 41;
const MCAST_JOIN_GROUP: c_int = 42;
const MCAST_BLOCK_SOURCE: c_int = 43;
const MCAST_UNBLOCK_SOURCE: c_int = 44;
const MCAST_LEAVE_GROUP: c_int = 45;
const MCAST_JOIN_SOURCE_GROUP: c_int = 46;
const MCAST_LEAVE_SOURCE_GROUP: c_int = 47;
const MCAST_MSFILTER: c_int = 48;
const IPV6_MULTICAST_IF: c_int = 17;
const IPV6_JOIN_GROUP: c_int = 20;
const IPV6_LEAVE_GROUP: c_int = 21;
/// Sources of a filter that are read.
const MOST_SOURCES: u32 = 128;

/// How a call names an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Index(u32),
    Address(Ipv4Addr),
    /// Not at all: the route to the group does.
    Route,
}

/// A change of membership, as a call said it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Note {
    group: IpAddr,
    by: By,
    change: Change,
}

/// What the files of this process have joined.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    notes: HashMap<u64, Vec<Note>>,
    /// IP_MULTICAST_IF.
    ways: HashMap<u64, By>,
}

impl Joined {
    /// The file is gone.
    pub(crate) fn forget(&mut self, word: Word) {
        self.notes.remove(&word.cookie());
        self.ways.remove(&word.cookie());
    }

    fn note(&mut self, word: Word, note: Note) {
        let notes = self.notes.entry(word.cookie()).or_default();
        if note.change == Change::Leave {
            notes.retain(|n| (n.group, n.by) != (note.group, note.by));
        } else {
            notes.push(note);
        }
    }
}

/// The kernel's socket took an option; if it is one of groups, it is noted, and told to the stack. `turn` is there
/// when the socket is attached. Whether it is one.
pub(crate) fn taken(
    held: &Held,
    (level, name): (c_int, c_int),
    (place, len): (Place, usize),
    turn: Option<(&mut Turn<'_>, SocketId)>,
) -> Result<bool, Fault> {
    if matches!((level, name), (IPPROTO_IP, IP_MULTICAST_IF) | (IPPROTO_IPV6, IPV6_MULTICAST_IF)) {
        let by = way(level, place, len)?;
        state::lock().groups.ways.insert(held.word.cookie(), by);
        if let Some((turn, id)) = turn {
            set_way(turn, id, by);
        }
        return Ok(true);
    }
    let Some(note) = read(level, name, place, len)? else { return Ok(false) };
    state::lock().groups.note(held.word, note.clone());
    if let Some((turn, id)) = turn {
        tell(turn, held, id, &note);
    }
    Ok(true)
}

/// The socket was attached: the stack's takes over what the kernel's has joined.
pub(crate) fn carry_over(turn: &mut Turn<'_>, held: &Held, id: SocketId) {
    let (notes, by) = {
        let groups = &state::lock().groups;
        let key = held.word.cookie();
        (groups.notes.get(&key).cloned().unwrap_or_default(), groups.ways.get(&key).copied())
    };
    if let Some(by) = by {
        set_way(turn, id, by);
    }
    if !notes.is_empty() {
        held.file.set(Flag::SharedGroups, is_shared(held));
    }
    for note in &notes {
        tell(turn, held, id, note);
    }
}

fn tell(turn: &mut Turn<'_>, held: &Held, id: SocketId, note: &Note) {
    if held.file.is(Flag::SharedGroups) || is_shared(held) {
        // Somebody else must hear it too, and the kernel alone can copy it to both.
        return Reason::SharedGroup.count();
    }
    let stack = turn.stack();
    let iface = match note.by {
        By::Index(index) => Some(IfaceId(index)).filter(|i| stack.drives(*i)),
        By::Address(address) => stack.iface_with(address.into()),
        By::Route => stack.iface_towards(SocketAddr::new(note.group, 0)),
    };
    // On other interfaces the group is the kernel's.
    if let Some(iface) = iface {
        let _ = stack.change_group(id, note.group, iface, note.change.clone());
    }
}

fn set_way(turn: &mut Turn<'_>, id: SocketId, by: By) {
    let stack = turn.stack();
    let iface = match by {
        By::Index(index) => Some(IfaceId(index)),
        By::Address(address) => stack.iface_with(address.into()),
        By::Route => None,
    };
    let _ = stack.set_group_iface(id, iface);
}

/// Whether a socket that is none of ours is bound to the port: only possible where both allowed it.
fn is_shared(held: &Held) -> bool {
    let allows = |name| {
        let mut value = [0; 4];
        kernel::option(held.fd, libc::SOL_SOCKET, name, &mut value).is_some() && value != [0; 4]
    };
    if !allows(libc::SO_REUSEADDR) && !allows(libc::SO_REUSEPORT) {
        return false;
    }
    let Some(port) = kernel::local(held.fd).map(|local| local.port()) else { return true };
    let own = own_sockets();
    ["/proc/self/net/udp", "/proc/self/net/udp6"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .any(|table| bound_at(&table, port).any(|inode| !own.contains(&inode)))
}

/// The inodes of the sockets of this process.
fn own_sockets() -> Vec<u64> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let inode = |entry: std::fs::DirEntry| {
        let link = std::fs::read_link(entry.path()).ok()?;
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    entries.filter_map(Result::ok).filter_map(inode).collect()
}

/// The inodes of the sockets bound to `port`, in a table of `/proc/net/udp`'s form.
fn bound_at(table: &str, port: u16) -> impl Iterator<Item = u64> {
    let wanted = format!(":{port:04X}");
    let inode = move |line: &str| {
        let mut words = line.split_whitespace();
        let local = words.nth(1)?;
        local.ends_with(&wanted).then(|| words.nth(7)?.parse().ok())?
    };
    table.lines().skip(1).filter_map(inode).collect::<Vec<u64>>().into_iter()
}

fn address(place: Place) -> Result<Ipv4Addr, Fault> {
    Ok(Ipv4Addr::from(u32::from_be(place.read::<u32>()?)))
}

/// `struct in_addr`, `ip_mreq` or `ip_mreqn`; on IPv6 an index.
fn way(level: c_int, place: Place, len: usize) -> Result<By, Fault> {
    if level == IPPROTO_IPV6 {
        return Ok(index(place.read()?));
    }
    match len {
        12.. => by(address(place.after(4))?, place.after(8).read()?),
        8..12 => by(address(place.after(4))?, 0),
        4..8 => by(address(place)?, 0),
        _ => Ok(By::Route),
    }
}

fn by(address: Ipv4Addr, number: u32) -> Result<By, Fault> {
    Ok(match (number, address) {
        (1.., _) => By::Index(number),
        (0, Ipv4Addr::UNSPECIFIED) => By::Route,
        (0, address) => By::Address(address),
    })
}

fn index(number: u32) -> By {
    if number == 0 { By::Route } else { By::Index(number) }
}

/// What a call changes, in one form; none when it is not about memberships.
fn read(level: c_int, name: c_int, place: Place, len: usize) -> Result<Option<Note>, Fault> {
    match (level, name) {
        (IPPROTO_IP, IP_ADD_MEMBERSHIP | IP_DROP_MEMBERSHIP) => {
            let number = if len >= 12 { place.after(8).read()? } else { 0 };
            let change = if name == IP_ADD_MEMBERSHIP { Change::Join } else { Change::Leave };
            let by = by(address(place.after(4))?, number)?;
            Ok(Some(Note { group: address(place)?.into(), by, change }))
        }
        (IPPROTO_IP, IP_UNBLOCK_SOURCE..=IP_DROP_SOURCE_MEMBERSHIP) => {
            let source = IpAddr::from(address(place.after(8))?);
            let change = match name {
                IP_UNBLOCK_SOURCE => Change::Unblock(source),
                IP_DROP_SOURCE_MEMBERSHIP => Change::LeaveSource(source),
                38 => Change::Block(source),
                _ => Change::JoinSource(source),
            };
            Ok(Some(Note { group: address(place)?.into(), by: by(address(place.after(4))?, 0)?, change }))
        }
        (IPPROTO_IP, IP_MSFILTER) => {
            let (include, count) = (place.after(8).read::<u32>()? == 1, place.after(12).read::<u32>()?);
            let source = |n: u32| address(place.after(16 + 4 * n as usize)).map(IpAddr::from);
            let sources = (0..count.min(MOST_SOURCES)).map(source).collect::<Result<_, _>>()?;
            let change = Change::Filter(include, sources);
            Ok(Some(Note { group: address(place)?.into(), by: by(address(place.after(4))?, 0)?, change }))
        }
        (IPPROTO_IPV6, IPV6_JOIN_GROUP | IPV6_LEAVE_GROUP) => {
            let mut octets = [0; 16];
            place.read_into(&mut octets)?;
            let change = if name == IPV6_JOIN_GROUP { Change::Join } else { Change::Leave };
            let by = index(place.after(16).read()?);
            Ok(Some(Note { group: Ipv6Addr::from(octets).into(), by, change }))
        }
        (IPPROTO_IP | IPPROTO_IPV6, MCAST_JOIN_GROUP..=MCAST_MSFILTER) => any_family(name, place),
        _ => Ok(None),
    }
}

/// The calls of RFC 3678 §5.1, which take a `sockaddr_storage` of either family.
fn any_family(name: c_int, place: Place) -> Result<Option<Note>, Fault> {
    const STORAGE: usize = size_of::<libc::sockaddr_storage>();
    let by = index(place.read()?);
    let stored = |at: usize| -> Result<Option<IpAddr>, Fault> {
        let mut bytes = [0; 28];
        place.after(at).read_into(&mut bytes)?;
        Ok(from_c(&bytes).map(|a| a.ip()))
    };
    let Some(group) = stored(8)? else { return Ok(None) };
    let source = |make: fn(IpAddr) -> Change| Ok(stored(8 + STORAGE)?.map(make));
    let change = match name {
        MCAST_JOIN_GROUP => Some(Change::Join),
        MCAST_LEAVE_GROUP => Some(Change::Leave),
        MCAST_BLOCK_SOURCE => source(Change::Block)?,
        MCAST_UNBLOCK_SOURCE => source(Change::Unblock)?,
        MCAST_JOIN_SOURCE_GROUP => source(Change::JoinSource)?,
        MCAST_LEAVE_SOURCE_GROUP => source(Change::LeaveSource)?,
        _ => {
            let include = place.after(8 + STORAGE).read::<u32>()? == 1;
            let count: u32 = place.after(12 + STORAGE).read()?;
            let mut sources = Vec::new();
            for n in 0..count.min(MOST_SOURCES) as usize {
                sources.extend(stored(16 + STORAGE + n * STORAGE)?);
            }
            Some(Change::Filter(include, sources))
        }
    };
    Ok(change.map(|change| Note { group, by, change }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|w| w.to_be_bytes()).collect()
    }

    const GROUP: u32 = 0xef01_0203;
    const OWN: u32 = 0x0a4d_0001;
    const PEER: u32 = 0x0a4d_0002;

    fn read_v4(name: c_int, bytes: &[u8]) -> Option<Note> {
        crate::signals::install_fault_handler();
        read(IPPROTO_IP, name, Place::from(bytes.as_ptr()), bytes.len()).unwrap()
    }

    #[test]
    fn every_form_of_a_membership_is_understood() {
        let group = IpAddr::from([239, 1, 2, 3]);
        let own = By::Address(Ipv4Addr::from(OWN));
        let note = |by, change| Some(Note { group, by, change });
        assert_eq!(read_v4(35, &words(&[GROUP, OWN])), note(own, Change::Join));
        assert_eq!(read_v4(36, &words(&[GROUP, 0])), note(By::Route, Change::Leave));
        let mut with_index = words(&[GROUP, OWN]);
        with_index.extend(7u32.to_ne_bytes());
        assert_eq!(read_v4(35, &with_index), note(By::Index(7), Change::Join));
        let source = IpAddr::from(Ipv4Addr::from(PEER));
        let sources = words(&[GROUP, OWN, PEER]);
        assert_eq!(read_v4(37, &sources), note(own, Change::Unblock(source)));
        assert_eq!(read_v4(38, &sources), note(own, Change::Block(source)));
        assert_eq!(read_v4(39, &sources), note(own, Change::JoinSource(source)));
        assert_eq!(read_v4(40, &sources), note(own, Change::LeaveSource(source)));
        let mut filter = words(&[GROUP, OWN]);
        filter.extend(1u32.to_ne_bytes());
        filter.extend(1u32.to_ne_bytes());
        filter.extend(words(&[PEER]));
        assert_eq!(read_v4(41, &filter), note(own, Change::Filter(true, vec![source])));
        assert_eq!(read_v4(34, &[0; 4]), None);
        assert!(read(IPPROTO_IP, 35, Place::from(8 as *const u8), 8).is_err());
    }

    #[test]
    fn the_forms_of_either_family_are_understood() {
        let mut bytes = vec![0; 8 + 128 + 128];
        bytes[..4].copy_from_slice(&3u32.to_ne_bytes());
        let (group, source) = ("[ff02::1234]:0".parse().unwrap(), "[2001:db8::9]:0".parse().unwrap());
        bytes[8..36].copy_from_slice(&crate::user::address_bytes(group).0);
        bytes[136..164].copy_from_slice(&crate::user::address_bytes(source).0);
        let (group, by, source) = (group.ip(), By::Index(3), source.ip());
        let note = |change| Some(Note { group, by, change });
        assert_eq!(read_v4(MCAST_JOIN_GROUP, &bytes), note(Change::Join));
        assert_eq!(read_v4(MCAST_JOIN_SOURCE_GROUP, &bytes), note(Change::JoinSource(source)));
        assert_eq!(read_v4(MCAST_LEAVE_GROUP, &bytes), note(Change::Leave));
    }

    #[test]
    fn what_is_left_is_forgotten() {
        let mut joined = Joined::default();
        let word = Word::of_cookie(5).unwrap();
        let group = IpAddr::from([239, 1, 2, 3]);
        for change in [Change::Join, Change::Block(group)] {
            joined.note(word, Note { group, by: By::Route, change });
        }
        assert_eq!(joined.notes[&5].len(), 2);
        joined.note(word, Note { group, by: By::Route, change: Change::Leave });
        assert!(joined.notes[&5].is_empty());
        joined.forget(word);
        assert!(joined.notes.is_empty());
    }

    #[test]
    fn sockets_at_a_port_are_found_in_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            1: 00000000:14E9 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 777 2 x 0\n\
            2: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 888 2 x 0\n";
        assert_eq!(bound_at(table, 5353).collect::<Vec<_>>(), [777]);
        assert_eq!(bound_at(table, 53).collect::<Vec<_>>(), [888]);
        assert_eq!(bound_at(table, 54).count(), 0);
    }
}
