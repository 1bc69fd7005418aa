//! The policy in force: verdicts, their memory, and what is counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::compile::{Decision, NO_TABLE, Policy};
use super::limit::Limits;
use super::refusals::{Refusal, Refusals};
use super::roads::{Roads, Via};
use super::rules::Name;
use super::spec::{Mode, PolicySpec};
use super::successor::{Retired, Successor};
use crate::hash::HashKey;
use crate::time::Instant;
use crate::types::{Direction, FlowKey, Road, VerdictMemo};

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Count {
    #[inline]
    fn add(&mut self, len: usize) {
        self.join(Self { packets: 1, bytes: len as u64 });
    }

    /// Wraps: what a table denies is made of a part that may be less than nothing.
    #[inline]
    pub(super) fn join(&mut self, other: Self) {
        self.packets = self.packets.wrapping_add(other.packets);
        self.bytes = self.bytes.wrapping_add(other.bytes);
    }

    pub(super) fn take_off(&mut self, other: Self) {
        self.packets = self.packets.wrapping_sub(other.packets);
        self.bytes = self.bytes.wrapping_sub(other.bytes);
    }
}

/// All that a packet of a known flow needs of the gate: one line of the cache, and one for its counter.
#[derive(Debug)]
#[repr(align(32))]
struct Hot {
    /// What was counted, a row for each rule, for what else each table denies, and for what is for no table.
    rows: Vec<Count>,
    /// Verdicts of this generation hold by whatever interface a packet travels: the gate's, or nobody's while
    /// interfaces are told apart.
    holds: u32,
    /// The row by which was judged last.
    judged: u32,
}

/// A packet, as far as it matters to the gate.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// Its length in bytes.
    pub len: usize,
    /// Whether it comes or goes.
    pub way: Direction,
    /// The interface by which it travels, or, of an answer, by which what it answers does; need not be known while the
    /// gate does not tell them apart.
    pub road: Road,
}

/// Judges packets by the current policy and counts them.
#[derive(Debug)]
pub struct Gate {
    hot: Hot,
    policy: Arc<Policy>,
    /// Policies that were in force, this one included.
    policies: u32,
    /// Of verdicts: another with each policy, and when an interface that may matter to it has another name.
    generation: u32,
    /// The interfaces of the stack…
    roads: Arc<Roads>,
    /// …and what each is to the policy; empty while that tells none apart.
    vias: Vec<Via>,
    /// Flows beyond each limit of the policy, in the order of its limits.
    limited: Vec<u64>,
    limits: Limits,
    refusals: Refusals,
    /// Of the segment in hand that is of no known connection.
    flags: Option<u8>,
    /// The limit of the row by which was judged last was reached.
    limited_last: bool,
}

/// What was told of a flow before it is judged.
#[derive(Clone, Copy)]
enum Before {
    /// Nothing.
    Nothing,
    /// What there was to tell of it.
    Told,
    /// That, by the interface by which it came until now, and where this verdict let it pass.
    Passed(VerdictMemo),
}

/// No row: nothing was judged.
const NOBODY: u32 = u32::MAX;

/// The names by which a gate judged last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged<'p> {
    /// The table; `None`: none answers for the address, or nothing was judged.
    pub table: Option<&'p str>,
    /// The rule; `None`: none matches.
    pub rule: Option<&'p str>,
    /// It says no, even where the table only monitors.
    pub refused: bool,
    /// It says yes, but the source of the flow had begun too many.
    pub limited: bool,
}

impl Gate {
    /// A gate that lets everything pass. `key`: where sources of flows are remembered.
    ///
    /// # Panics
    /// Never: the empty policy compiles.
    pub fn open(key: HashKey) -> Self {
        Self::new(Policy::compile(&PolicySpec::open()).expect("the empty policy compiles"), key)
    }

    /// A gate with `policy` as its first.
    pub fn new(policy: Arc<Policy>, key: HashKey) -> Self {
        let mut limits = Limits::new(key);
        limits.prepare(!policy.limits.is_empty());
        let mut refusals = Refusals::default();
        refusals.prepare(!policy.is_open());
        let (rows, limited) = policy.nothing_counted();
        let mut gate = Self {
            hot: Hot { rows, holds: VerdictMemo::NO_GENERATION, judged: NOBODY },
            policy,
            policies: 1,
            generation: 1,
            roads: Arc::default(),
            vias: Vec::new(),
            limited,
            limits,
            refusals,
            flags: None,
            limited_last: false,
        };
        gate.find_vias();
        gate
    }

    /// Whether a packet of the flow `key`, which began in `direction`, may pass. Counts it. The verdict is taken from
    /// `memo` while that is of this gate's generation and of the interface, and kept there.
    #[inline]
    pub fn judge(
        &mut self,
        memo: &mut VerdictMemo,
        key: &FlowKey,
        direction: Direction,
        packet: Packet,
    ) -> bool {
        self.recall(memo, packet.len).unwrap_or_else(|| self.judge_closely(memo, key, direction, packet))
    }

    /// What [`Gate::judge`] says, if the verdict in `memo` holds whichever way the packet of `len` bytes goes: then
    /// nobody needs to know which. Counts it.
    #[inline]
    pub fn recall(&mut self, memo: &VerdictMemo, len: usize) -> Option<bool> {
        (memo.generation == self.hot.holds).then(|| self.count(memo, len))
    }

    #[inline(never)]
    fn judge_closely(
        &mut self,
        memo: &mut VerdictMemo,
        key: &FlowKey,
        direction: Direction,
        packet: Packet,
    ) -> bool {
        let anew = memo.generation != self.generation;
        if anew && memo.road() == Road::UNKNOWN {
            *memo = memo.by(packet.road);
        }
        if self.tells_roads_apart()
            && packet.way == direction
            && self.via(packet.road) != self.via(memo.road())
        {
            return self.judge_elsewhere(memo, key, direction, packet);
        }
        if anew {
            let told = memo.generation == VerdictMemo::TOLD.generation;
            self.decide(memo, key, direction, if told { Before::Told } else { Before::Nothing });
        }
        self.count(memo, packet.len)
    }

    /// Of a flow that came another way until now. Whoever is refused there takes nothing from the flow: it goes on
    /// where it was. A memo has room for one interface, so where packets take turns between two each is judged here; but
    /// while the flow passes it is told of once, and once more where a table that only monitors would have refused it:
    /// there would else be an entry a packet, and no room for who is kept out.
    #[inline(never)]
    fn judge_elsewhere(
        &mut self,
        memo: &mut VerdictMemo,
        key: &FlowKey,
        direction: Direction,
        packet: Packet,
    ) -> bool {
        let before = match memo.generation {
            generation if generation == self.generation && memo.allowed() => Before::Passed(*memo),
            generation if generation == VerdictMemo::TOLD.generation => Before::Told,
            _ => Before::Nothing,
        };
        let mut anew = memo.by(packet.road);
        self.decide(&mut anew, key, direction, before);
        if anew.allowed() {
            *memo = anew;
        }
        self.count(&anew, packet.len)
    }

    /// Counts a packet for the row that judged it; whether it passes.
    #[inline]
    fn count(&mut self, memo: &VerdictMemo, len: usize) -> bool {
        self.hot.judged = memo.row();
        self.hot.rows[memo.row() as usize].add(len);
        memo.allowed()
    }

    #[inline(always)]
    fn decide(&mut self, memo: &mut VerdictMemo, key: &FlowKey, direction: Direction, before: Before) {
        let via = self.via(memo.road());
        let decision = self.policy.decide(key, direction, via);
        let dropped = !decision.allowed;
        *memo = VerdictMemo::new(self.generation, decision.allowed, decision.row, memo.road());
        let news = match before {
            Before::Nothing => true,
            Before::Told => dropped,
            Before::Passed(by) => {
                let news = decision.refused && !by.is_told_elsewhere() && by.row() != decision.row;
                *memo = memo.told_elsewhere(news || by.is_told_elsewhere());
                dropped || news
            }
        };
        if (decision.refused || decision.logged) && news {
            self.tell_of(key, direction, decision);
        }
    }

    /// Puts it where it waits to be told of. Not on the way of what passes.
    #[inline(never)]
    fn tell_of(&mut self, key: &FlowKey, direction: Direction, decision: Decision) {
        let Decision { allowed, logged, row, .. } = decision;
        // What is in hand begins no flow of ours.
        let flags = self.flags.filter(|_| direction == Direction::In);
        let (key, dropped) = (*key, !allowed);
        let refusal = Refusal { key, direction, flags, permitted: logged, limited: false, dropped, row };
        self.refusals.push(refusal);
    }

    /// Whether it matters by which interface a packet travels.
    #[inline]
    pub fn tells_roads_apart(&self) -> bool {
        !self.vias.is_empty()
    }

    /// What an interface is to the policy.
    #[inline]
    fn via(&self, road: Road) -> Via {
        match (self.vias.split_last(), road.port()) {
            (Some((home, _)), _) if road == Road::HOME => *home,
            (Some((_, driven)), Some(port)) => driven.get(port).copied().unwrap_or_default(),
            _ => Via::OTHER,
        }
    }

    /// Asks the policy for every interface; the one at home comes last.
    fn find_vias(&mut self) {
        let Self { vias, roads, policy, .. } = self;
        vias.clear();
        if policy.tells_interfaces_apart() {
            let all = (0..roads.len()).map(Road::of_port).chain([Road::HOME]);
            vias.extend(all.map(|road| policy.via(roads.name(road))));
        }
        self.hot.holds = if self.tells_roads_apart() { VerdictMemo::NO_GENERATION } else { self.generation };
    }

    /// The interface with this place among the stack's is called `name`.
    pub fn name_road(&mut self, port: usize, name: &str) {
        if Arc::make_mut(&mut self.roads).call(port, name) && self.tells_roads_apart() {
            self.judge_anew();
            self.find_vias();
        }
    }

    /// The interfaces of the stack.
    pub fn roads(&self) -> &Arc<Roads> {
        &self.roads
    }

    /// The flags of the segment that is judged from now on, which is of no known connection; none when it has been.
    pub fn in_hand(&mut self, flags: Option<u8>) {
        self.flags = flags;
    }

    /// What comes is of no known judgement yet.
    pub fn forget_judged(&mut self) {
        (self.hot.judged, self.limited_last) = (NOBODY, false);
    }

    /// By whom was judged last, since [`Gate::forget_judged`].
    pub fn last_judged(&self) -> Judged<'_> {
        let (table, rule) = self.policy.names_of(self.hot.judged);
        let refused = self.policy.is_refusal(self.hot.judged);
        Judged { table, rule, refused, limited: self.limited_last }
    }

    /// Keeps the sources of flows in words that other gates share, which remember them by the same key:
    /// [`LIMIT_WORDS`](super::LIMIT_WORDS), all zero at first.
    pub fn share_limits(&mut self, key: HashKey, words: &'static [AtomicU64]) {
        self.limits.share(key, words);
    }

    /// Whether there is something to [take away](Gate::take_refusals).
    #[inline]
    pub fn has_refusals(&self) -> bool {
        self.refusals.wait()
    }

    /// Moves what was refused lately to `into`. How many more there were that were only counted.
    pub fn take_refusals(&mut self, into: &mut Vec<Refusal>) -> u64 {
        self.refusals.take(into)
    }

    /// Whether a flow that was judged, and let pass, by `memo` may begin: asked once, by its first packet of `len`
    /// bytes. No when its source has begun too many lately.
    #[inline]
    pub fn begins(&mut self, now: Instant, memo: &VerdictMemo, key: &FlowKey, len: usize) -> bool {
        self.limited.is_empty() || self.is_within(now, memo.row(), key, len)
    }

    fn is_within(&mut self, now: Instant, row: u32, key: &FlowKey, len: usize) -> bool {
        let Ok(at) = self.policy.limits.binary_search_by_key(&row, |limit| limit.row) else { return true };
        let limit = self.policy.limits[at];
        if self.limits.take(now, limit.row, key.remote.ip(), limit.rate) {
            return true;
        }
        self.limited[at] += 1;
        self.limited_last = true;
        self.hot.rows[limit.denied as usize].add(len);
        let dropped = limit.mode == Mode::Enforce;
        self.refusals.amend(Refusal {
            key: *key,
            direction: Direction::In,
            flags: self.flags,
            permitted: false,
            limited: true,
            dropped,
            row,
        });
        !dropped
    }

    /// Puts `policy` in force. Every flow is judged anew at its next packet. Rules that have the name of their table
    /// and their own in common with a rule before go on counting where that stood.
    pub fn swap(&mut self, policy: Arc<Policy>) {
        self.succeed(Successor::new(&self.policy, policy));
    }

    /// As [`Gate::swap`], when what takes long was done before. What comes back is no longer needed: dropping it takes
    /// long, too.
    pub fn succeed(&mut self, mut next: Successor) -> Retired {
        if !next.follows(&self.policy) {
            next = Successor::new(&self.policy, next.policy);
        }
        next.go_on(&self.hot.rows, &self.limited);
        self.limits.prepare(!next.policy.limits.is_empty());
        self.refusals.prepare(!next.policy.is_open());
        self.refusals.forget();
        self.forget_judged();
        self.policies = self.policies.saturating_add(1);
        self.judge_anew();
        let rows = std::mem::replace(&mut self.hot.rows, next.rows);
        self.limited = next.limited;
        let policy = std::mem::replace(&mut self.policy, next.policy);
        self.find_vias();
        Retired { _policy: policy, _rows: rows, _kept: next.kept }
    }

    /// Verdicts that were kept hold no longer. Generation zero means "never judged".
    fn judge_anew(&mut self) {
        self.generation =
            if self.generation == VerdictMemo::LAST_GENERATION { 1 } else { self.generation + 1 };
    }

    /// Whether nothing is denied to anybody.
    pub fn is_open(&self) -> bool {
        self.policy.is_open()
    }

    /// The number of the policy in force: the first is 1.
    pub fn policies(&self) -> u32 {
        self.policies
    }

    /// The policy in force.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// What was counted, table by table.
    pub fn snapshot(&self) -> GateSnapshot {
        let count = |row: u32| self.hot.rows[row as usize];
        let limited = |row: u32| {
            let at = self.policy.limits.binary_search_by_key(&row, |limit| limit.row).ok()?;
            self.limited.get(at).copied()
        };
        let mut counters: BTreeMap<&str, CounterSnapshot> = BTreeMap::new();
        let mut tables = Vec::with_capacity(self.policy.tables.len());
        for table in &self.policy.tables {
            let rules = &table.rules;
            let mut told = Vec::with_capacity(rules.len());
            // What no rule matched, and what is left of rules that are gone.
            let mut denied = count(table.denied_row());
            for (row, rule) in (table.first_row..).zip(0..rules.len()) {
                let count = count(row);
                if rules.denies(rule) {
                    denied.join(count);
                }
                if let Some(at) = rules.counter(rule) {
                    let new = || CounterSnapshot { name: rules.counters().name(at), count: Count::default() };
                    let sum = &mut counters.entry(rules.counters().get(at)).or_insert_with(new).count;
                    (sum.packets, sum.bytes) = (sum.packets + count.packets, sum.bytes + count.bytes);
                }
                let (name, limited) = (rules.names().name(rule), limited(row).unwrap_or(0));
                told.push(RuleSnapshot { name, count, limited });
            }
            let name = rules.names().name(rules.len());
            tables.push(TableSnapshot { name, mode: table.mode, rules: told, denied });
        }
        GateSnapshot {
            generation: self.policies,
            no_table: count(NO_TABLE),
            tables,
            counters: counters.into_values().collect(),
        }
    }
}

/// What a gate counted, in the shape in which `ringroad stat` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateSnapshot {
    /// The number of the policy in force.
    pub generation: u32,
    /// Packets for local addresses that have no table.
    pub no_table: Count,
    /// In the order of the policy.
    pub tables: Vec<TableSnapshot>,
    /// The named counters, in the order of their names.
    pub counters: Vec<CounterSnapshot>,
}

/// What one table counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSnapshot {
    /// Its name: as a rule, the address it answers for.
    pub name: Name,
    /// Whether its verdicts are carried out.
    pub mode: Mode,
    /// In the order of the table.
    pub rules: Vec<RuleSnapshot>,
    /// What was denied, by a rule or by none; in monitor mode what would have been.
    pub denied: Count,
}

/// What one rule counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSnapshot {
    /// Its name.
    pub name: Name,
    /// What it matched.
    pub count: Count,
    /// Flows that it would have let pass, had their source not begun too many.
    pub limited: u64,
}

/// What the rules that name one counter counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterSnapshot {
    /// Its name.
    pub name: Name,
    /// The sum.
    pub count: Count,
}
