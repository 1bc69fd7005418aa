//! The transmission control block: all that is known of a connection.

use core::num::NonZeroU16;
use core::time::Duration;

use nic::Pool;

use super::ack::Owed;
use super::buffers::Buffers;
use super::cc::Congestion;
use super::ecn::Ecn;
use super::env::Env;
use super::inbox::Inbox;
use super::info::Info;
use super::options::TcpOptions;
use super::pacing::{Pacer, UNLIMITED, rate_of_window};
use super::plpmtud;
use super::rack::Rack;
use super::rate::{Meter, Rate};
use super::rcv::{Rcv, shift_for};
use super::reassembly::Reassembly;
use super::recovery::Recovery;
use super::rto::Rto;
use super::segs::SegTable;
use super::sent::Sent;
use super::share;
use super::snd::Snd;
use super::state::State;
use super::tally::Tally;
use super::timers::{Await, Timers};
use super::timestamps::Timestamps;
use super::tlp::Tlp;
use super::urgent::{Octet, Urgent};
use crate::error::SocketError;
use crate::ip::{Egress, Flow};
use crate::seq::Seq;
use crate::time::Instant;
use crate::types::Readiness;
use crate::wire::tcp::{Options, TIMESTAMPS_LEN};

/// Octets of a TCP header with the longest IP header of the family in front: what an MTU loses to headers.
const HEADERS_V4: u16 = 40;
const HEADERS_V6: u16 = 60;

/// A connection. The order is that of memory: what every segment looks at comes first, what only ACKs and sends do comes
/// last, so that among very many connections a segment waits for few lines of the cache ([`Tcb::HOT`]).
#[derive(Debug)]
#[repr(C)]
pub struct Tcb {
    /// The five-tuple with its route and verdict.
    pub flow: Flow,
    /// The state of RFC 9293 §3.3.2.
    pub state: State,
    pub(super) wakes: Readiness,
    pub(super) ecn: Ecn,
    /// What `timers.retransmit` is set for.
    pub(super) awaits: Await,
    pub(super) owed: Owed,
    pub(super) rcv: Rcv,
    pub(super) tally: Tally,
    pub(super) snd: Snd,
    pub(super) timers: Timers,
    pub(super) ts: Timestamps,
    /// Rate samples and pacing, of the few connections that have them.
    pub(super) meter: Option<Box<Meter>>,
    /// The growth of buffers, of connections that have come to need it.
    pub(super) buffers: Option<Box<Buffers>>,
    pub(super) inbox: Inbox,
    pub(super) counts: Counts,
    pub(super) role: Role,
    pub(super) tlp: Tlp,
    /// What the application chose.
    pub options: TcpOptions,
    pub(super) urgent: Urgent,
    /// SO_ERROR: why the connection failed; taken by the call that reports it.
    pub error: Option<SocketError>,
    pub(super) recovery: Recovery,
    pub(super) sent: Sent,
    pub(super) reassembly: Reassembly,
    pub(super) rto: Rto,
    pub(super) rack: Rack,
    pub(super) cc: Congestion,
}

/// Facts about a connection that hold or do not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Role {
    /// It began with a listener.
    pub(super) passive: bool,
    /// Its owner closed it.
    pub(super) orphan: bool,
    /// SACK is agreed (RFC 2018).
    pub(super) sack: bool,
    /// Window scaling is agreed (RFC 7323).
    pub(super) scaled: bool,
    /// A SYN (or SYN-ACK) went out.
    pub(super) syn_sent: bool,
    /// More than once: its round trip is ambiguous.
    pub(super) syn_again: bool,
    /// The application found no room, in the send buffer or in the pool, and waits.
    pub(super) starved: bool,
    /// The application said that more follows (MSG_MORE).
    pub(super) held: bool,
    /// Fast Open (RFC 7413): our SYN asks for a cookie or brings data; or theirs brought a good one, and the
    /// connection is used before the handshake is over.
    pub(super) fast_open: bool,
    /// Our SYN-ACK gives a cookie.
    pub(super) give_cookie: bool,
    /// The data of the SYN was acknowledged by the SYN-ACK.
    pub(super) syn_data_acked: bool,
    /// Longer packets than the path is known to take are worth a try (RFC 8899).
    pub(super) searches: bool,
}

/// Small counters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Segments sent again.
    pub(super) retransmits: u32,
    /// Zero-window probes without an answer.
    pub(super) probes: u8,
    /// Zero-window probes since the window shut: the interval doubles, answered or not.
    pub(super) probes_in_all: u8,
    /// Keepalive probes without an answer.
    pub(super) keepalives: u8,
    /// Tries in a row that the way out refused.
    pub(super) blocked: u8,
}

impl Tcb {
    /// Octets from its beginning that a segment looks at which brings what is expected.
    pub const HOT: usize = core::mem::offset_of!(Tcb, rto);

    /// A connection that is about to send its first segment. `iss`: the number to begin with, when it is not the
    /// clock's to say.
    pub(super) fn new<E: Egress>(
        flow: Flow,
        options: TcpOptions,
        state: State,
        iss: Option<Seq>,
        env: &mut Env<'_, E>,
    ) -> Self {
        let iss = iss.unwrap_or_else(|| Seq(env.shared.isn.sequence(&flow.key, env.now)));
        // Who did not ask has to hear first whether the peer does ([`Tcb::negotiate`]).
        let asks = state == State::SynSent;
        let offset = if asks { env.shared.isn.timestamp_offset(&flow.key) } else { 0 };
        let snd = Snd::new(iss);
        let mut tcb = Self {
            state,
            options,
            error: None,
            wakes: Readiness::NONE,
            role: Role::default(),
            sent: Sent::new(snd.nxt),
            cc: Congestion::new(options.congestion, u32::from(snd.mss)),
            meter: None,
            snd,
            rcv: Rcv::new(Seq(0)),
            inbox: Inbox::default(),
            reassembly: Reassembly::default(),
            owed: Owed::default(),
            rto: Rto::new(env.config),
            recovery: Recovery::default(),
            rack: Rack::new(iss + 1),
            tlp: Tlp::default(),
            ecn: Ecn::default(),
            ts: Timestamps { offset, ..Timestamps::default() },
            timers: Timers::default(),
            awaits: Await::Rto,
            urgent: Urgent::default(),
            buffers: None,
            tally: Tally::default(),
            counts: Counts::default(),
            flow,
        };
        // By what the buffer may become (RFC 7323 §2.3: it cannot be told later).
        tcb.rcv.shift = shift_for(tcb.options.recv_buffer.max(env.config.recv_buffer_max as u32));
        tcb.owed.set_interactive(!options.quickack);
        tcb.rcv.heard_at = env.now;
        tcb
    }

    /// Takes over what the peer's SYN offers (RFC 9293 §3.10.7.2, RFC 7323 §2, §3, RFC 2018 §2). With
    /// `answering`, the SYN answers ours; both sides must have offered for an option to hold, and we offer all.
    pub(super) fn negotiate<E: Egress>(&mut self, irs: Seq, offer: &Options, env: &mut Env<'_, E>) {
        let shift = self.rcv.shift;
        self.rcv = Rcv::new(irs);
        self.rcv.heard_at = env.now;
        self.snd.peer_mss = offer.mss.unwrap_or(super::snd::default_mss(self.flow.key.remote));
        self.role.sack = offer.sack_permitted;
        self.role.scaled = offer.window_scale.is_some();
        self.snd.shift = offer.window_scale.unwrap_or(0);
        self.rcv.shift = if self.role.scaled { shift } else { 0 };
        if let Some(ts) = offer.timestamps {
            self.ts.on = true;
            self.ts.offset = env.shared.isn.timestamp_offset(&self.flow.key);
            self.ts.take(ts.val, env.now);
        }
        let link = env.egress.mtu(&mut self.flow);
        self.refresh_mss_by(link, env);
        // Until the peer sends: it will not send longer segments than we asked for.
        self.rcv.mss = self.mss_to_announce(link).min(super::snd::MSS_DEFAULT);
        self.cc.restart(u32::from(self.snd.mss));
    }

    /// Takes over what the application chose now.
    pub(crate) fn set_options(&mut self, options: TcpOptions, segs: &mut SegTable, now: Instant) {
        self.options = options;
        let (srtt, seed) = (self.rto.srtt(), self.snd.iss.0 ^ self.snd.una.0.rotate_left(16));
        self.cc.change(options.congestion, srtt, seed, now);
        if self.cc.pacing_rate().is_some() || options.max_pacing_rate != UNLIMITED {
            self.measure(segs);
        }
        self.set_pace();
    }

    /// Begins to measure the rate of delivery, if that is not done yet. It allocates: for calls only.
    pub(crate) fn measure(&mut self, segs: &mut SegTable) {
        if self.meter.is_none() && self.state != State::Closed {
            segs.keep_stamps();
            let rate = Rate::new(self.snd.nxt, self.snd.sent_at.max(self.rcv.heard_at));
            self.meter = Some(Box::new(Meter { rate, pacer: Pacer::default() }));
        }
    }

    /// The pace that congestion control and SO_MAX_PACING_RATE leave.
    pub(super) fn set_pace(&mut self) {
        let Some(meter) = &mut self.meter else { return };
        let most = self.options.max_pacing_rate;
        let rate = match self.cc.pacing_rate() {
            Some(rate) => rate,
            None if most == UNLIMITED => UNLIMITED,
            None => rate_of_window(self.cc.cwnd(), self.cc.ssthresh(), self.rto.srtt()),
        };
        meter.pacer.set_rate(rate.min(most));
    }

    /// The window: congestion control's, or the recovery's while it is in charge. BBR is always in charge.
    #[inline]
    pub(super) fn cwnd(&self) -> u32 {
        match self.cc.rules_recovery() {
            true => self.cc.cwnd(),
            false => self.recovery.cwnd(self.cc.cwnd()),
        }
    }

    pub(super) fn headers(&self) -> u16 {
        if self.flow.remote().is_ipv4() { HEADERS_V4 } else { HEADERS_V6 }
    }

    /// The MSS that a SYN of ours announces (RFC 6691).
    pub(super) fn announced_mss<E: Egress>(&mut self, env: &mut Env<'_, E>) -> u16 {
        let link = env.egress.mtu(&mut self.flow);
        self.mss_to_announce(link)
    }

    /// As [`Tcb::announced_mss`], where the first link takes packets of `link` bytes.
    fn mss_to_announce(&self, link: u16) -> u16 {
        let mss = link.saturating_sub(self.headers());
        mss.min(self.options.max_segment.map_or(u16::MAX, NonZeroU16::get))
    }

    /// Computes the MSS anew from what the path and the options say now.
    pub(super) fn refresh_mss<E: Egress>(&mut self, env: &mut Env<'_, E>) {
        let link = env.egress.mtu(&mut self.flow);
        self.refresh_mss_by(link, env);
    }

    /// As [`Tcb::refresh_mss`], where the first link takes packets of `link` bytes.
    fn refresh_mss_by<E: Egress>(&mut self, link: u16, env: &mut Env<'_, E>) {
        let mut mtu = link;
        if self.options.path_mtu {
            mtu = env.shared.paths.limit(self.flow.remote(), mtu, env.now);
            let searches = env.config.mtu_probing > 0 && env.shared.paths.is_searched(self.flow.remote());
            plpmtud::search(self, searches);
        }
        self.snd.path_epoch = env.shared.paths.epoch();
        let headers = self.headers();
        let options = if self.ts.on { TIMESTAMPS_LEN as u16 } else { 0 };
        let limit = self.options.max_segment.map(NonZeroU16::get);
        self.snd.set_mss(mtu, headers, options, limit);
        let frame = u16::try_from(env.pool.payload_capacity()).unwrap_or(u16::MAX);
        self.snd.mss = self.snd.mss.min(frame);
        self.cc.set_mss(u32::from(self.snd.mss));
    }

    /// The path may have changed: what was sent and is too long for it now is lost.
    pub(super) fn follow_path<E: Egress>(&mut self, env: &mut Env<'_, E>) {
        let before = self.snd.mss;
        self.refresh_mss(env);
        if self.snd.mss < before {
            self.sent.lose_longer_than(env.segs, u32::from(self.snd.mss));
        }
    }

    /// The longest packet that the path to the peer takes, as far as is known (IP_MTU).
    pub fn path_mtu(&self) -> u16 {
        self.snd.path_mtu
    }

    /// Octets of data in flight, as RFC 6675 counts them. A FIN does not take part in congestion control.
    #[inline]
    pub(super) fn pipe(&self) -> u32 {
        let outstanding = self.snd.outstanding() - u32::from(self.snd.fin_sent && self.snd.outstanding() > 0);
        self.sent.pipe(outstanding).saturating_sub(self.recovery.unseen())
    }

    /// When something arrived last.
    pub fn heard_at(&self) -> Instant {
        self.rcv.heard_at
    }

    /// Whether the peer reset it before the handshake was over.
    pub fn was_reset(&self) -> bool {
        self.state == State::Closed && self.error == Some(SocketError::ConnectionReset)
    }

    /// Whether the application may use it already although the handshake is not over (RFC 7413 §4.2.2).
    #[inline]
    pub(super) fn is_open_early(&self) -> bool {
        self.state == State::SynReceived && self.role.passive && self.role.fast_open
    }

    /// Whether the timer runs for something in flight.
    #[inline]
    pub(super) fn awaits_ack(&self) -> bool {
        self.timers.retransmit != Instant::NEVER && self.awaits != Await::Persist
    }

    /// Sets the timer for what the peer owes us.
    #[inline]
    pub(super) fn await_ack(&mut self, what: Await, at: Instant) {
        (self.awaits, self.timers.retransmit) = (what, at);
    }

    /// TCP_LINGER2: how long an orphan waits for the peer's FIN, `usual` unless it was said; none: not at all.
    pub(super) fn fin_wait(&self, usual: Duration) -> Option<Duration> {
        match self.options.linger2 {
            ..0 => None,
            0 => Some(usual),
            seconds => Some(Duration::from_secs(seconds.unsigned_abs().into())),
        }
    }

    /// Whether our FIN was sent and acknowledged.
    pub(super) fn fin_acked(&self) -> bool {
        self.snd.fin_sent && self.snd.una == self.snd.nxt
    }

    /// Octets of free receive buffer. When frames are scarce there is less to promise, for everybody.
    #[inline]
    pub(super) fn room(&self, pool: &Pool) -> u32 {
        let free = self.recv_buffer().saturating_sub(self.inbox.octets);
        let free = if self.options.window_clamp == 0 { free } else { free.min(self.options.window_clamp) };
        free.min(share::affordable(pool, self.inbox.octets, self.snd.mss))
    }

    /// Whether `send` has room worth waking for: a third of the buffer (as Linux's sk_stream_is_writeable).
    #[inline]
    pub(super) fn is_writable(&self) -> bool {
        u64::from(self.sent.octets) * 3 <= u64::from(self.send_buffer()) * 2 && self.is_little_unsent()
    }

    /// TCP_NOTSENT_LOWAT: half of it, that there be something to wake for (tcp_stream_memory_free).
    #[inline]
    fn is_little_unsent(&self) -> bool {
        let mark = self.options.not_sent_low_water;
        mark == 0 || u64::from(self.unsent()) * 2 < u64::from(mark)
    }

    /// The send buffer as it is now, in octets.
    #[inline]
    pub fn send_buffer(&self) -> u32 {
        match &self.buffers {
            Some(buffers) if !self.options.send_locked => buffers.send.max(self.options.send_buffer),
            _ => self.options.send_buffer,
        }
    }

    /// The receive buffer as it is now, in octets.
    #[inline]
    pub fn recv_buffer(&self) -> u32 {
        match &self.buffers {
            Some(buffers) if !self.options.recv_locked => buffers.recv.max(self.options.recv_buffer),
            _ => self.options.recv_buffer,
        }
    }

    /// The widest window that would be offered, in octets.
    pub fn window_clamp(&self) -> u32 {
        match self.options.window_clamp {
            0 => self.recv_buffer(),
            clamp => clamp,
        }
    }

    /// Whether so much has arrived that a reader who wants `low_water` octets should look: that much, or as much
    /// as the peer may send before something is read (tcp_epollin_ready).
    pub fn has_enough(&self, low_water: u32) -> bool {
        let hole = u32::from(self.at_mark() && !self.options.urgent_inline);
        self.inbox.octets >= low_water.saturating_add(hole) || self.rcv.wnd() <= u32::from(self.rcv.mss)
    }

    /// TCP_QUICKACK: whether ACKs of small segments do not wait for an answer to carry them.
    pub fn is_quick(&self) -> bool {
        !self.owed.is_interactive()
    }

    /// The connection is over: nothing is sent or expected any more. What was received can still be read.
    pub(super) fn end(&mut self, error: Option<SocketError>, pool: &mut Pool, segs: &mut SegTable) {
        self.state = State::Closed;
        self.timers = Timers::default();
        self.meter = None;
        self.owed.sent();
        self.sent.clear(segs, pool);
        self.reassembly.clear(segs, pool);
        if self.role.orphan {
            self.inbox.clear(segs, pool);
        }
        self.error = error.or(self.error);
        self.wakes |= self.readiness();
    }

    /// Whether anything became ready since [`Tcb::take_wakes`].
    #[inline]
    pub fn has_wakes(&self) -> bool {
        !self.wakes.is_empty()
    }

    /// What became ready since this was asked last. A bit may be told again while it is still set: each
    /// arrival of data is an edge of its own.
    #[inline]
    pub fn take_wakes(&mut self) -> Readiness {
        core::mem::take(&mut self.wakes)
    }

    /// What `poll` would say now (as Linux's tcp_poll).
    pub fn readiness(&self) -> Readiness {
        let mut ready = if self.error.is_some() { Readiness::ERR } else { Readiness::NONE };
        if matches!(self.state, State::SynSent | State::SynReceived) && !self.is_open_early() {
            return ready;
        }
        let closed = self.state == State::Closed;
        let read_shut = self.rcv.finished || self.rcv.shut || closed;
        let write_shut = self.snd.shut || closed;
        if self.is_readable() || read_shut {
            ready |= Readiness::IN;
        }
        if let Octet::Here(_) = self.urgent.octet {
            ready |= Readiness::PRI;
        }
        if read_shut {
            ready |= Readiness::RDHUP;
        }
        // Who found no room, in the buffer or in the pool, is told when there is some: not before, lest it spin.
        if write_shut || (self.is_writable() && !self.role.starved) {
            ready |= Readiness::OUT;
        }
        if read_shut && write_shut {
            ready |= Readiness::HUP;
        }
        ready
    }

    /// Whether `recv` would find octets. An urgent one, out of line, is not for it.
    fn is_readable(&self) -> bool {
        let hole = !self.urgent.is_quiet() && !self.options.urgent_inline && self.at_mark();
        self.inbox.octets > u32::from(hole)
    }

    /// The next octet to be read.
    pub(super) fn copied(&self) -> Seq {
        self.rcv.nxt - self.inbox.octets - u32::from(self.rcv.finished)
    }

    /// SIOCATMARK: the next octet to be read is the urgent one (RFC 9293 MUST-33).
    pub fn at_mark(&self) -> bool {
        self.urgent.is_at_mark(self.copied())
    }

    /// When [`expiry::timers`](super::expiry::timers) must be called; [`Instant::NEVER`]: not at all.
    /// It may move later without notice: calling early is harmless.
    #[inline]
    pub fn next_deadline(&self) -> Instant {
        match &self.meter {
            Some(meter) => self.timers.next().min(meter.pacer.timer),
            None => self.timers.next(),
        }
    }

    /// Octets that are queued for `recv`.
    #[inline]
    pub fn recv_queue(&self) -> u32 {
        self.inbox.octets
    }

    /// SIOCINQ: octets that `recv` would give now, up to the mark of urgent data out of line.
    pub fn recv_ahead(&self) -> u32 {
        let mark = self.urgent.ahead(self.copied()).or(self.at_mark().then_some(0));
        match mark {
            Some(ahead) if !self.options.urgent_inline && ahead < self.inbox.octets => ahead,
            _ => self.inbox.octets,
        }
    }

    /// Octets that the peer has not acknowledged, those not sent yet included.
    #[inline]
    pub fn send_queue(&self) -> u32 {
        self.sent.octets
    }

    /// Octets of payload in a full segment.
    #[inline]
    pub fn segment_size(&self) -> u16 {
        self.snd.mss
    }

    /// Octets that were not sent yet.
    pub fn unsent(&self) -> u32 {
        self.sent.end.since(self.snd.nxt)
    }

    /// Whether the peer said that it will send no more, and all it sent was read.
    pub fn at_end(&self) -> bool {
        self.rcv.finished && self.inbox.octets == 0
    }

    /// Its owner closed it: nobody reads or writes here any more. An orphan in TIME-WAIT can be kept as a
    /// [`TimeWait`](super::TimeWait); one in CLOSED can be dropped.
    pub fn is_orphan(&self) -> bool {
        self.role.orphan
    }

    /// Whether the connection began with a listener.
    pub fn is_passive(&self) -> bool {
        self.role.passive
    }

    /// SO_ERROR: what ended the connection, or what ICMP has said of its path (RFC 9293 MUST-47), each once.
    pub fn take_error(&mut self) -> Option<SocketError> {
        self.error.take().or_else(|| self.snd.soft_error.take())
    }

    /// A snapshot.
    pub fn info(&self) -> Info {
        Info {
            state: self.state,
            srtt: self.rto.srtt(),
            rttvar: self.rto.rttvar(),
            rto: self.rto.rto(),
            cwnd: self.cwnd(),
            ssthresh: self.cc.ssthresh(),
            snd_mss: u32::from(self.snd.mss),
            rcv_mss: u32::from(self.rcv.mss),
            retransmits: self.counts.retransmits,
            backoff: self.rto.back_offs(),
            recv_queue: self.inbox.octets,
            send_queue: self.sent.octets,
            in_flight: self.pipe(),
            snd_wnd: self.snd.wnd,
            rcv_wnd: self.rcv.wnd(),
            window_scale: self.role.scaled.then_some((self.snd.shift, self.rcv.shift)),
            timestamps: self.ts.on,
            sack: self.role.sack,
            ecn: self.ecn.is_on(),
            ecn_seen: self.ecn.is_seen(),
            min_rtt: self.rack.min_rtt.get(),
            segments_in_flight: self.sent.segments,
            segments_sacked: self.sent.sacked.segments,
            segments_lost: self.sent.lost.segments,
            segments_resent: self.sent.resent.segments,
            reordering_seen: self.rack.reordering_seen,
            syn_data: self.role.syn_data_acked,
            pacing_rate: self.pacing_rate(),
            max_pacing_rate: self.options.max_pacing_rate,
            delivery_rate: self.meter.as_ref().map_or(0, |m| m.rate.last().0),
            app_limited: self.meter.as_ref().is_some_and(|m| m.rate.last().1),
            bbr: self.cc.told(),
        }
    }

    /// Octets a second at which segments leave, or at which Linux would have them leave.
    fn pacing_rate(&self) -> u64 {
        let window = || rate_of_window(self.cc.cwnd(), self.cc.ssthresh(), self.rto.srtt());
        self.cc.pacing_rate().unwrap_or_else(window).min(self.options.max_pacing_rate)
    }

    /// Frees all queued frames; to be called before the `Tcb` is dropped.
    pub fn release(&mut self, pool: &mut Pool, segs: &mut SegTable) {
        self.sent.clear(segs, pool);
        self.reassembly.clear(segs, pool);
        self.inbox.clear(segs, pool);
    }
}
