//! What goes along when a process becomes another program: its line to the parent, those to its children, and what both
//! call the connections.

use std::collections::HashMap;
use std::sync::Arc;

use libc::c_int;
use ringroad::link::Link;
use ringroad::runtime::Turn;
use stack::plain::Plain;
use stack::types::SocketId;

use super::children::Debt;
use super::{Child, Heirs, adopt, name_of};
use crate::fdtable::{self, Flag, Word};
use crate::kernel;

/// The words of connections in this program, by those in the one before it.
pub(crate) type Moved = HashMap<u64, Word>;

/// What this process is to a connection, beside using it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tie {
    /// The parent's name for it.
    pub(crate) name: u64,
    /// It was taken from the parent, which holds its own copy.
    pub(crate) borrowed: bool,
    /// A child has it at present.
    pub(crate) lent: bool,
    /// A child may ask for it.
    pub(crate) wanted: bool,
}

/// The line to the parent.
pub(crate) fn line(heirs: &Heirs) -> Option<Arc<Link>> {
    heirs.parent.clone()
}

/// What the next program has to know of a connection.
pub(crate) fn tie(heirs: &Heirs, word: Word) -> Tie {
    Tie {
        name: name_of(heirs, word),
        borrowed: heirs.borrowed.contains(&word),
        lent: heirs.lent.contains(&word),
        wanted: heirs.children.values().any(|child| child.words.contains(&word)),
    }
}

/// Connections that were closed and that children may ask for.
pub(crate) fn parked(heirs: &Heirs) -> Vec<(Word, SocketId)> {
    heirs.parked.iter().map(|(word, id)| (*word, *id)).collect()
}

/// One more of them.
pub(crate) fn park(heirs: &mut Heirs, word: Word, id: SocketId) {
    heirs.parked.insert(word, id);
}

/// The children that have something to ask for or to give back, and what they have. They are not answered here any more, and if the new
/// program does not find the library nobody answers them: it has their lines open and does not read them.
pub(crate) fn pack(heirs: &mut Heirs) -> impl Iterator<Item = (&Child, Vec<Word>)> {
    heirs.packed = true;
    if let Some(parent) = &heirs.parent {
        parent.outlive_exec(true);
    }
    let gives_back = !heirs.lent.is_empty();
    let needed = move |child: &&Child| !child.words.is_empty() || child.given.is_some() || gives_back;
    let Heirs { children, debtors, .. } = heirs;
    let has = |child: &Child| {
        let its = debtors.iter().filter(|(_, debt)| debt.line == child.link.raw());
        its.map(|(word, _)| *word).collect()
    };
    children.values().filter(needed).map(move |child| (child, has(child)))
}

/// There is no next program.
pub(crate) fn unpack(heirs: &mut Heirs) {
    heirs.packed = false;
    let links = heirs.children.values().map(|child| &child.link);
    links.chain(heirs.parent.as_deref()).for_each(|link| link.outlive_exec(false));
}

/// The line of the program that this process was before.
pub(crate) fn resume(heirs: &mut Heirs, parent: Link) {
    fdtable::protect(parent.raw(), true);
    heirs.parent = Some(Arc::new(parent));
}

/// A connection that it had.
pub(crate) fn resume_one(heirs: &mut Heirs, word: Word, tie: Tie) {
    heirs.names.insert(word, tie.name);
    if tie.borrowed {
        heirs.borrowed.insert(word);
    }
    if let Some(file) = word.file().filter(|_| tie.lent) {
        heirs.lent.insert(word);
        file.set(Flag::Lent, true);
    }
}

/// A child of that program, as it was put.
pub(crate) struct Packed {
    /// None when it is not open.
    link: Option<Link>,
    words: Vec<u64>,
    has: Vec<u64>,
    names: Option<Vec<(u64, u64)>>,
    given: Option<Vec<u8>>,
}

/// The next child.
pub(crate) fn take_child(from: &mut &[u8]) -> Option<Packed> {
    let fd = u32::take(from)? as c_int;
    let link = Link::inherited(fd).ok();
    if link.is_some() {
        let _ = kernel::close(fd);
    }
    Some(Packed {
        link,
        words: take_all(from)?,
        has: take_all(from)?,
        names: if bool::take(from)? { Some(take_all(from)?) } else { None },
        given: Plain::take(from)?,
    })
}

/// The children of that program are this one's, which has `moved` what they may ask for.
pub(crate) fn resume_children(heirs: &mut Heirs, turn: &mut Turn<'_>, children: Vec<Packed>, moved: &Moved) {
    for Packed { link, words, has, names, given } in children {
        let Some(link) = link else { continue };
        let line = link.raw();
        let words = words.iter().filter_map(|word| moved.get(word)).copied().collect();
        let known = |(name, word)| Some((name, *moved.get(&word)?));
        let names =
            names.map_or_else(|| moved.clone(), |names| names.into_iter().filter_map(known).collect());
        adopt(heirs, turn, Child { link, words, given, names: Some(names) });
        let lent = has.iter().filter_map(|word| moved.get(word)).filter(|word| heirs.lent.contains(word));
        heirs.debtors.extend(lent.map(|word| (*word, Debt::of(line))));
    }
}

impl Child {
    /// What it was given last and may not have yet.
    pub(crate) fn given(&self) -> Option<&[u8]> {
        self.given.as_deref()
    }

    /// Writes it, after the byte `kind`, and what it has, with what it was given last or without.
    pub(crate) fn put(&self, kind: u8, has: &[Word], with_given: bool, to: &mut Vec<u8>) {
        self.link.outlive_exec(true);
        (kind, self.link.raw() as u32).put(to);
        put_all(self.words.iter().map(|word| word.cookie()), to);
        put_all(has.iter().map(|word| word.cookie()), to);
        self.names.is_some().put(to);
        if let Some(names) = &self.names {
            put_all(names.iter().map(|(name, word)| (*name, word.cookie())), to);
        }
        match with_given {
            true => self.given.put(to),
            false => None::<Vec<u8>>.put(to),
        }
    }
}

fn put_all<T: Plain>(all: impl ExactSizeIterator<Item = T>, to: &mut Vec<u8>) {
    (all.len() as u32).put(to);
    all.for_each(|one| one.put(to));
}

fn take_all<T: Plain>(from: &mut &[u8]) -> Option<Vec<T>> {
    (0..u32::take(from)?).map(|_| T::take(from)).collect()
}

impl Plain for Tie {
    fn put(&self, to: &mut Vec<u8>) {
        self.name.put(to);
        ((self.borrowed, self.lent), self.wanted).put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        let name = u64::take(from)?;
        let ((borrowed, lent), wanted) = Plain::take(from)?;
        Some(Self { name, borrowed, lent, wanted })
    }
}
