//! The asking end: finds every stack of the host.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::contact::{Address, Contact};
use super::model::{Alert, DumpReport, Report, StackReport};
use super::strangers::ask_each;
use crate::peer::{acts_as, user_of};
use crate::wire::{Timed, hear_all};

/// How long a stack may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest answer about sockets and counters, in bytes.
const ANSWER: usize = 64 << 20;

/// Every stack that runs, or only that of `pid`, in the order of their numbers; those that do not answer are left out.
pub fn stacks(pid: Option<u32>) -> Report {
    Report { stacks: ask_all(Contact::everywhere(pid), |contact| report(contact, "stat")) }
}

/// What the stacks of our network namespace count; without their sockets.
pub(crate) fn metrics() -> Vec<StackReport> {
    ask_all(Contact::here(None), |contact| report(contact, "metrics"))
}

/// What those say who answer, all of them asked side by side, by the numbers of their processes.
fn ask_all<T: Send>(
    contacts: impl Iterator<Item = Contact>,
    ask: impl Fn(Contact) -> io::Result<T> + Sync,
) -> Vec<T> {
    let mut by_user = BTreeMap::<u32, Vec<Address>>::new();
    contacts.for_each(|contact| by_user.entry(contact.user()).or_default().push(contact.later()));
    let ask = |address: Address| {
        let pid = address.pid;
        Some((pid, address.contact().and_then(&ask).ok()?))
    };
    let mut told: Vec<(u32, T)> = ask_each(by_user, ask).into_iter().flatten().collect();
    told.sort_by_key(|(pid, _)| *pid);
    told.into_iter().map(|(_, told)| told).collect()
}

/// What a stack says of itself; who it is we know better.
fn report(contact: Contact, request: &str) -> io::Result<StackReport> {
    let pid = contact.pid;
    let told: StackReport = ask(contact, request, ANSWER)?;
    Ok(StackReport { pid, ..told })
}

/// The stack of `pid` in full.
///
/// # Errors
/// As asking; `NotFound` when the process runs no stack.
pub fn dump(pid: u32) -> io::Result<DumpReport> {
    let contact = Contact::everywhere(Some(pid)).next().ok_or(io::ErrorKind::NotFound)?;
    let mut told: DumpReport = ask(contact, "dump", ANSWER)?;
    told.stack.pid = pid;
    Ok(told)
}

/// What the stacks of our network namespace told lately of what they refused, or what was told of that of `pid`; oldest
/// first. One process tells for all of its port.
pub fn alerts(pid: Option<u32>) -> Vec<Alert> {
    let ask = |contact: Contact| {
        let (teller, user) = (contact.pid, contact.user());
        let told: Vec<Alert> = ask(contact, "alerts", ANSWER)?;
        // For others of its user: whom else it names, nobody knows.
        let is_theirs = |pid| pid == 0 || pid == teller || acts_as(pid, user) || user_of(pid).is_none();
        let named =
            |alert: Alert| Alert { pid: if is_theirs(alert.pid) { alert.pid } else { teller }, ..alert };
        Ok(told.into_iter().map(named).collect::<Vec<_>>())
    };
    let contacts = Contact::everywhere(None).filter(|contact| pid.is_some() || contact.is_here());
    let mut all: Vec<Alert> = ask_all(contacts, ask).into_iter().flatten().collect();
    all.retain(|alert| pid.is_none_or(|pid| pid == alert.pid));
    all.sort_by(|a, b| a.last.total_cmp(&b.last));
    all
}

/// The stack of each process that runs in our network namespace, or of `pid`, and a stream of what its flows carry from now
/// on, as [messages](crate::flows::ipfix). Those of `known` are left out.
pub fn flows(pid: Option<u32>, known: &[u32]) -> Vec<(u32, UnixStream)> {
    let listen = |contact: Contact| {
        let pid = contact.pid;
        let stream = contact.dial().ok()?;
        Timed::new(&stream, PATIENCE).write_all(b"flows\n").ok()?;
        Some((pid, stream))
    };
    let all = Contact::here(pid);
    all.filter(|contact| !known.contains(&contact.pid)).filter_map(listen).collect()
}

/// Sends one line to a stack and reads the whole answer, of so many bytes at the most.
///
/// # Errors
/// As connecting, writing and reading do; `TimedOut` when the stack does not answer.
pub(super) fn ask<T: DeserializeOwned>(contact: Contact, request: &str, longest: usize) -> io::Result<T> {
    let stream = contact.dial()?;
    let mut timed = Timed::new(&stream, PATIENCE);
    writeln!(timed, "{request}")?;
    hear_all(timed, longest)
}
