//! What the steering programs carry out of the policy by themselves: put there, kept true while addresses come and go,
//! and what they kept out.
//!
//! All processes of a port have one guard. It stands before the program is there at all; its first stack goes on with it.
//! Whoever puts another policy in force first writes it; the others find it marked with the same text, and bring the host's
//! addresses up to date, which nobody may have followed meanwhile.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, PoisonError};

use af_xdp::{Alarm, Interface, PreparedGuard, Steering, SteeringCounters};
use stack::control::ControlEvent;
use stack::policy::Policy;
use stack::types::IfaceId;

use super::Runtime;
use super::start::policy_of;
use crate::alerts::Seen;
use crate::config::Apart;
use crate::netlink::{Netlink, Reopening};
use crate::policy_file::{Compiled, Guarded, Tallied};
use crate::port::Port;

/// The steering program of an interface.
pub(super) struct Program {
    pub(super) iface: IfaceId,
    /// The interface's name, as it is now.
    pub(super) name: String,
    pub(super) steering: Arc<Steering>,
}

/// The steering programs as they carry out a policy.
#[derive(Default)]
pub(super) struct Guards {
    programs: Vec<Program>,
    /// Every address of the host.
    own: BTreeSet<IpAddr>,
    standing: Option<Standing>,
}

/// The policy that they carry out.
struct Standing {
    guarded: Arc<Guarded>,
    policy: Arc<Policy>,
    /// The numbers that the programs gave it.
    numbers: Vec<u32>,
}

/// What is to stand next, understood by every program: nothing can fail any more.
pub(super) struct Next {
    standing: Standing,
    /// What each program has prepared, where another process has not put it in force already.
    prepared: Vec<Option<PreparedGuard>>,
}

impl Standing {
    /// The number of the table that answers for an address, in the guard of an interface.
    fn table_of(&self, interface: &str, address: IpAddr) -> Option<u8> {
        let via = self.policy.via(Some(interface));
        self.guarded.part(interface).number_of(self.policy.table_of(address, via)?)
    }
}

impl Guards {
    pub(super) fn new(programs: Vec<Program>) -> Self {
        Self { programs, ..Self::default() }
    }

    /// The interfaces that have a program, and their names.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = (IfaceId, &str)> {
        self.programs.iter().map(|program| (program.iface, program.name.as_str()))
    }

    /// The host's addresses changed, or an interface is back as another one.
    pub(super) fn control(&mut self, event: &ControlEvent) {
        if let ControlEvent::IfaceBack { before, now } = event {
            self.programs.iter_mut().filter(|program| program.iface == *before).for_each(|p| p.iface = *now);
            return;
        }
        let (address, own) = match event {
            ControlEvent::Address { address, .. } => (*address, true),
            ControlEvent::AddressGone { address, .. } => (*address, false),
            _ => return,
        };
        let changed = if own { self.own.insert(address) } else { self.own.remove(&address) };
        let Some(standing) = self.standing.as_ref().filter(|_| changed) else { return };
        for (Program { name, steering: program, .. }, number) in self.programs.iter().zip(&standing.numbers) {
            let table = if own { standing.table_of(name, address) } else { None };
            if program.guard() == *number
                && let Err(error) = program.guard_local(*number, address, table)
            {
                tracing::warn!(%address, %error, "cloaking");
            }
        }
    }

    /// An interface may have another name now; whether it has.
    fn rename(&mut self, event: &ControlEvent) -> bool {
        let ControlEvent::IfaceName { iface, name } = event else { return false };
        let renamed = |program: &&mut Program| program.iface == *iface && *program.name != **name;
        let Some(program) = self.programs.iter_mut().find(renamed) else { return false };
        program.name = name.to_string();
        true
    }

    /// Has every program prepare what `file` says, which was read from `text`; what stands is left alone. Nothing is to
    /// be carried out: none.
    fn prepare(&self, file: Option<&Compiled>, text: &str) -> io::Result<Option<Next>> {
        let Some((file, guarded)) = file.and_then(|file| Some((file, file.guard.as_ref()?))) else {
            return Ok(None);
        };
        let (guarded, policy) = (Arc::clone(guarded), Arc::clone(&file.policy));
        let standing = Standing { guarded, policy, numbers: Vec::new() };
        let prepare = |Program { name, steering: program, .. }: &Program| {
            let mark = mark_of(text, name);
            let local = |own: &IpAddr| Some((*own, standing.table_of(name, *own)?));
            let locals: Vec<(IpAddr, u8)> = self.own.iter().filter_map(local).collect();
            match program.guard_mark() == mark {
                true => program.guard_locals(program.guard(), &locals).map(|()| None),
                false => program.prepare_guard(mark, &standing.guarded.part(name).guard, &locals).map(Some),
            }
        };
        let prepared = self.programs.iter().map(prepare).collect::<io::Result<_>>()?;
        Ok(Some(Next { standing, prepared }))
    }

    /// Carries out what was prepared.
    fn stand(&mut self, next: Option<Next>) {
        let Some(Next { mut standing, prepared }) = next else {
            self.standing = None;
            let all = self.programs.iter().map(|program| &program.steering);
            all.filter(|steering| steering.guard() != 0).for_each(|steering| steering.clear_guard());
            return;
        };
        let enforce = |(Program { steering, .. }, prepared): (&Program, Option<PreparedGuard>)| {
            prepared.map_or_else(|| steering.guard(), |prepared| steering.enforce_guard(prepared))
        };
        standing.numbers = self.programs.iter().zip(prepared).map(enforce).collect();
        self.standing = Some(standing);
    }

    /// Takes what was kept out lately, or would have been, to `each`; how many more there were.
    pub(super) fn take(&self, mut each: impl FnMut(Seen)) -> u64 {
        let named = |at: usize, interface: &str, alarm: &Alarm| {
            let standing = self.standing.as_ref()?;
            let (table, rule) = (standing.numbers.get(at) == Some(&alarm.guard))
                .then(|| standing.guarded.part(interface).origin(alarm.table, alarm.rule))??;
            Some(standing.policy.names_at(table, rule))
        };
        let take = |(at, Program { name, steering, .. }): (usize, &Program)| {
            steering.take_alarms(|alarm| {
                let (table, rule) = named(at, name, &alarm).unwrap_or_default();
                each(Seen::kept_out(&alarm, (table, rule)));
            })
        };
        self.programs.iter().enumerate().map(take).sum()
    }

    /// What the programs have counted.
    pub(super) fn counters(&self) -> [(&'static str, u64); 3] {
        let all = self.programs.iter().filter_map(|program| program.steering.counters().ok());
        let add = |sum: [u64; 3], c: SteeringCounters| {
            [sum[0] + c.drop_cloaked, sum[1] + c.drop_denied, sum[2] + c.monitored]
        };
        let [cloaked, denied, monitored] = all.fold([0; 3], add);
        [("xdp_cloaked", cloaked), ("xdp_denied", denied), ("xdp_monitored", monitored)]
    }

    /// Packets and bytes that were kept, or would have been, from a table of the policy in force, by its place.
    pub(super) fn kept_out(&self, table: usize) -> (u64, u64) {
        let Some(standing) = &self.standing else { return (0, 0) };
        let of = |(Program { name, steering, .. }, guard): (&Program, &u32)| {
            let number = standing.guarded.part(name).number_of(table)?;
            steering.kept_out(*guard, number).ok()
        };
        let all = self.programs.iter().zip(&standing.numbers).filter_map(of);
        all.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// The same by rule, to `each` with the rule's place in the table and the counter that it shares.
    pub(super) fn kept_out_by_rule(&self, table: usize, mut each: impl FnMut(Tallied<'_>, (u64, u64))) {
        let Some(standing) = &self.standing else { return };
        for (Program { name, steering, .. }, guard) in self.programs.iter().zip(&standing.numbers) {
            let part = standing.guarded.part(name);
            let Some(number) = part.number_of(table) else { continue };
            part.tallied(number).for_each(|rule| each(rule, steering.tally(*guard, rule.at)));
        }
    }
}

/// Has the steering programs of a port carry out what `file` says before there is a stack, and nothing that another policy
/// left there, unless `text`, which it was read from, is not the port's policy: then whoever has put that there has done so.
pub(super) fn guard_from_the_start(port: &Port, file: Option<&Compiled>, text: &str) -> io::Result<()> {
    let program = |(interface, steering): (Interface, Steering)| Program {
        iface: IfaceId(interface.index),
        name: interface.name,
        steering: Arc::new(steering),
    };
    let mut guards = Guards::new(port.steered()?.into_iter().map(program).collect());
    if file.is_some_and(|file| file.guard.is_some()) {
        let mut events = Vec::new();
        Netlink::open(Vec::new(), Reopening::default(), &Apart::default(), &mut events)?;
        events.iter().for_each(|event| guards.control(event));
    }
    port.while_in_force(text, || {
        let next = guards.prepare(file, text)?;
        guards.stand(next);
        Ok(())
    })
}

/// What a policy's text is known by, as it is carried out at an interface: rules may name that.
fn mark_of(text: &str, interface: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (text, interface).hash(&mut hasher);
    hasher.finish().max(1)
}

impl Runtime {
    /// What changed of the host's addresses, and of the names of its interfaces.
    pub(super) fn follow_host(&self, events: &[ControlEvent]) {
        let mut guards = self.guards.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().for_each(|event| guards.control(event));
        let renamed = events.iter().filter(|event| guards.rename(event)).count();
        let stands = guards.standing.is_some();
        drop(guards);
        if renamed > 0
            && stands
            && let Err(error) = self.guard_again()
        {
            tracing::warn!(%error, "the steering program goes by the former name of its interface");
        }
    }

    /// Has the steering programs carry out what the port's policy says now.
    fn guard_again(&self) -> io::Result<()> {
        let text = self.policies()?.current;
        let file = policy_of(&text).map_err(io::Error::other)?;
        self.guard(file.as_ref(), &text)
    }

    /// Has the steering programs carry out what `file` says, or nothing where there is no policy, unless `text`, which it
    /// was read from, is no longer the port's policy: then whoever put another in its place does.
    pub(super) fn guard(&self, file: Option<&Compiled>, text: &str) -> io::Result<()> {
        let claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(claimed) = claimed.as_ref() else { return Ok(()) };
        claimed.while_in_force(text, || {
            let mut guards = self.guards.lock().unwrap_or_else(PoisonError::into_inner);
            let next = guards.prepare(file, text)?;
            guards.stand(next);
            Ok(())
        })?;
        self.watch_guard(file);
        Ok(())
    }

    /// Puts `text`, which says what `file` does, in force for whoever comes to drive the port, and has the steering
    /// programs carry it out: both, or nothing.
    pub(super) fn succeed_guard(
        &self,
        file: &Compiled,
        text: &str,
        image: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(claimed) = claimed.as_ref() else { return Ok(()) };
        claimed.succeed_policy(text, image, |put_in_force| {
            let mut guards = self.guards.lock().unwrap_or_else(PoisonError::into_inner);
            let next = guards.prepare(Some(file), text)?;
            put_in_force()?;
            guards.stand(next);
            Ok(())
        })?;
        self.watch_guard(Some(file));
        Ok(())
    }

    /// Has what the programs keep out noticed, where they do.
    fn watch_guard(&self, file: Option<&Compiled>) {
        let mut turn = self.lock_quietly();
        let core = turn.core();
        core.pulse.watches(file.is_some_and(|file| file.guard.is_some()));
        if let Some(bell) = &core.helper {
            bell.ring();
        }
    }
}
