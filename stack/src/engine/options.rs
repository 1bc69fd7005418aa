//! setsockopt and getsockopt: what each option does, one arm each.

use core::num::NonZeroU16;

use super::entry::{Body, Entry};
use super::{Stack, tcp_info};
use crate::config::SocketConfig;
use crate::error::SocketError;
use crate::ip::{Egress, Flow};
use crate::socket::stored::{
    LEAST_RECV_BUFFER, LEAST_SEND_BUFFER, Stored, V6Options, buffer, discover, retransmissions, seconds,
    within,
};
use crate::socket::{BbrInfo, OptName, Result, TcpInfo, Value};
use crate::tcp::cc::Algorithm;
use crate::tcp::{Info, State, Tcb, TcpOptions, call, output};
use crate::time::Instant;
use crate::types::{Protocol, SocketId};

/// The bounds of Linux's keepalive options: MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL, MAX_TCP_KEEPCNT.
const MOST_SECONDS: i32 = 32_767;
const MOST_PROBES: i32 = 127;
/// TCP_MAXSEG: TCP_MIN_MSS and MAX_TCP_WINDOW.
const SEGMENT: (i32, i32) = (88, 32_767);
/// TCP_LINGER2: TCP_FIN_TIMEOUT_MAX.
const MOST_LINGER2: i32 = 120;

impl Stack {
    /// Sets an option; checked and clamped as Linux does.
    ///
    /// # Errors
    /// `NoProtocolOption` for one that the socket's protocol does not have, or that is read only; `Invalid`.
    pub fn set_option(&mut self, now: Instant, id: SocketId, name: OptName, value: Value) -> Result<()> {
        let entry = self.table.get_mut(id).filter(|e| e.is_owned()).ok_or(SocketError::BadSocket)?;
        let (level, _) = name.raw();
        if name == OptName::V6Only && entry.local().is_some() {
            return Err(SocketError::Invalid);
        }
        if level == 6 && entry.protocol() == Protocol::Udp {
            return Err(SocketError::NoProtocolOption);
        }
        if name.is_for_datagrams() {
            let Body::Datagram(datagram) = &mut entry.body else { return Err(SocketError::NoProtocolOption) };
            datagram.set_option(name, value.int()?)?;
            if matches!(name, OptName::RecvError | OptName::RecvErrorV6)
                && value == Value::Int(0)
                && let Some(errors) = datagram.errors()
            {
                // Linux: who no longer asks for errors is not told of those that wait.
                errors.clear(&mut self.core.pool);
            }
            return Ok(());
        }
        let udp = entry.protocol() == Protocol::Udp;
        let connected = matches!(entry.body, Body::Connection(_));
        if connected && name == OptName::WindowClamp && value == Value::Int(0) {
            return Err(SocketError::Invalid);
        }
        if let (Body::Connection(connection), OptName::QuickAck) = (&mut entry.body, name) {
            call::quick_ack(&mut connection.tcb, value.int()?, &mut self.core.env(now, false));
            self.settle(id);
            return Ok(());
        }
        let config = &self.core.config;
        self.option_sets.change(&mut entry.options, |options| {
            match (name, value) {
                (OptName::Linger, Value::Linger(linger)) => options.linger = linger,
                (OptName::Congestion, Value::Name(name)) => options.tcp.congestion = congestion(&name)?,
                (OptName::MaxPacingRate, Value::Rate(rate)) => options.tcp.max_pacing_rate = rate,
                (_, Value::Int(value)) if level == 6 => set_tcp(options, name, value)?,
                (_, Value::Int(value)) if level == 41 => set_v6(options, name, value)?,
                (OptName::RecvLowWater, Value::Int(value)) if !udp => {
                    options.recv_low_water = low_water(&options.tcp, value, config.tcp.recv_buffer_max);
                }
                (_, Value::Int(value)) => set_common(options, &config.sockets, name, value)?,
                _ => return Err(SocketError::Invalid),
            }
            Ok(())
        })?;
        self.apply_options(now, id);
        if name == OptName::NoDelay
            && value != Value::Int(0)
            && let Some(connection) = self.table.get_mut(id).and_then(Entry::connection_mut)
        {
            // Linux: what waits goes, from under a cork too.
            output::uncork(&mut connection.tcb, &mut self.core.env(now, false));
            self.settle(id);
        }
        if matches!(name, OptName::RecvLowWater | OptName::NotSentLowWater) {
            // What was too little may be enough now.
            self.wake(id);
        }
        Ok(())
    }

    /// A connection takes over what was set, and sends what may be sent now.
    fn apply_options(&mut self, now: Instant, id: SocketId) {
        let Some(entry) = self.table.get_mut(id) else { return };
        if let Body::Listener(listener) = &mut entry.body {
            // Memory is taken by the call, not by the packet that needs it.
            listener.fast_open.reserve(usize::try_from(entry.options.kept.fast_open).unwrap_or(0));
        }
        let Entry { body: Body::Connection(connection), options, .. } = entry else { return };
        connection.tcb.set_options(options.tcp, &mut self.core.segs, now);
        options.dress(&mut connection.tcb.flow);
        output::push(&mut connection.tcb, &mut self.core.env(now, false));
        self.settle(id);
    }

    /// Reads an option.
    ///
    /// # Errors
    /// `NoProtocolOption` for one that the socket's protocol does not have.
    pub fn option(&mut self, id: SocketId, name: OptName) -> Result<Value> {
        if name == OptName::Error {
            self.owned(id)?;
            return Ok(Value::Int(self.take_error(id).map_or(0, SocketError::errno)));
        }
        let entry = self.table.get_mut(id).filter(|e| e.is_owned()).ok_or(SocketError::BadSocket)?;
        let (level, _) = name.raw();
        let udp = entry.protocol() == Protocol::Udp;
        match name {
            _ if level == 6 && udp => Err(SocketError::NoProtocolOption),
            _ if name.is_for_datagrams() => match &entry.body {
                Body::Datagram(datagram) => Ok(Value::Int(datagram.option(name))),
                _ => Err(SocketError::NoProtocolOption),
            },
            OptName::Mtu | OptName::MtuV6 => match &mut entry.body {
                Body::Connection(connection) => Ok(Value::Int(i32::from(connection.tcb.path_mtu()))),
                _ => self.link_mtu(id),
            },
            OptName::Info => {
                let told = match &mut entry.body {
                    Body::Connection(connection) => {
                        let tcb = &mut connection.tcb;
                        // Who asks once may ask again: then there is a rate to tell.
                        tcb.measure(&mut self.core.segs);
                        tcb.keep_account();
                        tcp_info::of(tcb, self.core.seen)
                    }
                    Body::Listener(listener) => {
                        tcp_info::of_listener(listener, entry.options.tcp.max_pacing_rate)
                    }
                    _ => TcpInfo { state: State::Closed.number(), ..TcpInfo::default() },
                };
                Ok(Value::Info(told))
            }
            OptName::ControlInfo => {
                Ok(Value::ControlInfo(info(entry).and_then(|i| i.bbr).map(|told| BbrInfo {
                    bw: told.bw,
                    min_rtt: told.min_rtt,
                    pacing_gain: told.pacing_gain,
                    cwnd_gain: told.cwnd_gain,
                })))
            }
            OptName::MaxSeg => Ok(Value::Int(match info(entry) {
                Some(i) => i.snd_mss as i32,
                None => entry.options.tcp.max_segment.map_or(536, |most| i32::from(most.get())),
            })),
            OptName::SendBufferForce | OptName::RecvBufferForce => Err(SocketError::NoProtocolOption),
            OptName::AcceptConn => Ok(Value::Int(i32::from(matches!(entry.body, Body::Listener(_))))),
            OptName::Type => Ok(Value::Int(if udp { 2 } else { 1 })),
            OptName::Protocol => Ok(Value::Int(entry.protocol() as i32)),
            OptName::Linger2 if entry.options.tcp.linger2 == 0 => {
                Ok(Value::Int(self.core.config.tcp.fin_timeout.as_secs() as i32))
            }
            OptName::SynCount if entry.options.tcp.syn_retries.is_none() => {
                Ok(Value::Int(self.core.config.tcp.syn_retries.into()))
            }
            OptName::SendBuffer if udp => Ok(Value::Int(entry.options.udp_send_buffer as i32)),
            OptName::RecvBuffer if udp => Ok(Value::Int(entry.options.udp_recv_buffer as i32)),
            _ => match entry.connection().and_then(|c| current(&c.tcb, name)) {
                Some(value) => Ok(Value::Int(value)),
                None => Ok(stored(&entry.options, name)),
            },
        }
    }

    fn link_mtu(&mut self, id: SocketId) -> Result<Value> {
        let entry = self.owned(id)?;
        let Body::Datagram(datagram) = &entry.body else { return Err(SocketError::NotConnected) };
        let remote = datagram.remote.ok_or(SocketError::NotConnected)?;
        let key = self.flow_to(Protocol::Udp, entry.local(), remote)?;
        let mut flow = Flow::new(key, crate::types::Direction::Out);
        Ok(Value::Int(i32::from(self.core.out.mtu(&mut flow))))
    }
}

/// What a connection has made of an option.
fn current(tcb: &Tcb, name: OptName) -> Option<i32> {
    match name {
        OptName::SendBuffer => Some(doubled(tcb.send_buffer())),
        OptName::RecvBuffer => Some(doubled(tcb.recv_buffer())),
        OptName::QuickAck => Some(tcb.is_quick().into()),
        OptName::WindowClamp => Some(i32::try_from(tcb.window_clamp()).unwrap_or(i32::MAX)),
        OptName::Hops if tcb.flow.ttl.is_none() && tcb.flow.route.hops != 0 => {
            Some(tcb.flow.route.hops.into())
        }
        _ => None,
    }
}

fn set_send_buffer(options: &mut Stored, value: i32, most: u32) {
    options.udp_send_buffer = buffer(value, LEAST_SEND_BUFFER, most);
    (options.tcp.send_buffer, options.tcp.send_locked) = (options.udp_send_buffer / 2, true);
}

fn set_recv_buffer(options: &mut Stored, value: i32, most: u32) {
    options.udp_recv_buffer = buffer(value, LEAST_RECV_BUFFER, most);
    (options.tcp.recv_buffer, options.tcp.recv_locked) = (options.udp_recv_buffer / 2, true);
}

/// SOL_SOCKET and IPPROTO_IP.
fn set_common(options: &mut Stored, config: &SocketConfig, name: OptName, value: i32) -> Result<()> {
    let flag = value != 0;
    match name {
        OptName::ReuseAddr => options.reuse_addr = flag,
        OptName::ReusePort => options.reuse_port = flag,
        OptName::Broadcast => options.broadcast = flag,
        OptName::DontRoute => options.dont_route = flag,
        OptName::OobInline => options.tcp.urgent_inline = flag,
        OptName::KeepAlive => options.tcp.keepalive = flag,
        OptName::SendBuffer => set_send_buffer(options, value, config.send_buffer_ask),
        OptName::SendBufferForce => set_send_buffer(options, value, u32::MAX),
        OptName::RecvBuffer => set_recv_buffer(options, value, config.recv_buffer_ask),
        OptName::RecvBufferForce => set_recv_buffer(options, value, u32::MAX),
        OptName::RecvLowWater => options.recv_low_water = value.max(1) as u32,
        OptName::Priority => options.priority = value,
        OptName::Mark => options.mark = value,
        OptName::IncomingCpu => options.incoming_cpu = value,
        OptName::ZeroCopy => options.zero_copy = within(value, 0, 1)? != 0,
        OptName::BusyPoll => options.busy_poll = within(value, 0, i32::MAX)?,
        // Linux keeps the two ECN bits of a stream to itself.
        OptName::Tos => options.tos = (value & 0xfc) as u8,
        OptName::Ttl if value == -1 => options.ttl = config.ttl,
        OptName::Ttl => options.ttl = within(value, 1, 255)? as u8,
        OptName::MtuDiscover => {
            options.mtu_discover = within(value, discover::DONT, discover::OMIT)?;
            options.tcp.path_mtu = (discover::WANT..discover::INTERFACE).contains(&value);
        }
        _ => return Err(SocketError::NoProtocolOption),
    }
    Ok(())
}

/// IPPROTO_IPV6.
fn set_v6(options: &mut Stored, name: OptName, value: i32) -> Result<()> {
    let v6 = &mut options.v6;
    match name {
        OptName::V6Only => v6.only = value != 0,
        OptName::AutoFlowLabel => v6.auto_label = value != 0,
        OptName::Hops if value == -1 => v6.hops = None,
        OptName::Hops => v6.hops = Some(within(value, 0, 255)? as u8),
        OptName::TrafficClass if value == -1 => v6.tclass = 0,
        // Linux keeps the two ECN bits of a stream to itself.
        OptName::TrafficClass => v6.tclass = (within(value, 0, 255)? & 0xfc) as u8,
        OptName::MtuDiscoverV6 => {
            v6.mtu_discover = within(value, discover::DONT, discover::OMIT)?;
            options.tcp.path_mtu = value < discover::INTERFACE;
        }
        _ => return Err(SocketError::NoProtocolOption),
    }
    Ok(())
}

/// IPPROTO_TCP.
fn set_tcp(options: &mut Stored, name: OptName, value: i32) -> Result<()> {
    let seconds = |value| within(value, 1, MOST_SECONDS).map(|s| s as u16);
    let tcp = &mut options.tcp;
    match name {
        OptName::NoDelay => tcp.nodelay = value != 0,
        OptName::Cork => tcp.cork = value != 0,
        OptName::QuickAck => tcp.quickack = value != 0,
        OptName::KeepIdle => tcp.keepalive_idle = seconds(value)?,
        OptName::KeepInterval => tcp.keepalive_interval = seconds(value)?,
        OptName::KeepCount => tcp.keepalive_count = within(value, 1, MOST_PROBES)? as u8,
        OptName::SynCount => tcp.syn_retries = Some(within(value, 1, MOST_PROBES)? as u8),
        OptName::MaxSeg if value == 0 => tcp.max_segment = None,
        OptName::MaxSeg => {
            tcp.max_segment = NonZeroU16::new(within(value, SEGMENT.0, SEGMENT.1)? as u16);
        }
        OptName::UserTimeout => tcp.user_timeout = within(value, 0, i32::MAX)? as u32,
        OptName::DeferAccept => options.defer_accept = retransmissions(value),
        OptName::Linger2 => tcp.linger2 = value.clamp(-1, MOST_LINGER2) as i16,
        OptName::WindowClamp if value == 0 => tcp.window_clamp = 0,
        OptName::WindowClamp => tcp.window_clamp = value.max(LEAST_RECV_BUFFER as i32 / 2) as u32,
        OptName::FastOpen => options.kept.fast_open = within(value, 0, i32::MAX)?,
        OptName::FastOpenConnect => options.kept.fast_open_connect = within(value, 0, 1)? != 0,
        OptName::FastOpenNoCookie => options.kept.fast_open_no_cookie = within(value, 0, 1)? != 0,
        OptName::NotSentLowWater => tcp.not_sent_low_water = value as u32,
        OptName::SaveSyn => options.save_syn = within(value, 0, 2)? as u8,
        _ => return Err(SocketError::NoProtocolOption),
    }
    Ok(())
}

fn stored_v6(v6: &V6Options, name: OptName) -> i32 {
    match name {
        OptName::V6Only => v6.only.into(),
        OptName::AutoFlowLabel => v6.auto_label.into(),
        OptName::Hops => v6.hops.map_or(64, i32::from),
        OptName::TrafficClass => v6.tclass.into(),
        _ => v6.mtu_discover,
    }
}

fn stored_tcp(options: &Stored, name: OptName) -> i32 {
    let tcp = &options.tcp;
    match name {
        OptName::NoDelay => tcp.nodelay.into(),
        OptName::Cork => tcp.cork.into(),
        OptName::QuickAck => tcp.quickack.into(),
        OptName::KeepIdle => tcp.keepalive_idle.into(),
        OptName::KeepInterval => tcp.keepalive_interval.into(),
        OptName::KeepCount => tcp.keepalive_count.into(),
        OptName::SynCount => tcp.syn_retries.map_or(0, i32::from),
        OptName::UserTimeout => tcp.user_timeout as i32,
        OptName::DeferAccept => seconds(options.defer_accept),
        OptName::Linger2 => tcp.linger2.into(),
        OptName::WindowClamp => tcp.window_clamp as i32,
        OptName::FastOpen => options.kept.fast_open,
        OptName::FastOpenConnect => options.kept.fast_open_connect.into(),
        OptName::FastOpenNoCookie => options.kept.fast_open_no_cookie.into(),
        OptName::NotSentLowWater => tcp.not_sent_low_water as i32,
        OptName::SaveSyn => options.save_syn.into(),
        // Answered before: facts of the socket, or datagrams' own.
        _ => 0,
    }
}

fn stored(options: &Stored, name: OptName) -> Value {
    let tcp = &options.tcp;
    Value::Int(match name {
        OptName::Linger => return Value::Linger(options.linger),
        OptName::MaxPacingRate => return Value::Rate(tcp.max_pacing_rate),
        OptName::Congestion => return Value::Name(padded(tcp.congestion.name())),
        OptName::ReuseAddr => options.reuse_addr.into(),
        OptName::ReusePort => options.reuse_port.into(),
        OptName::Broadcast => options.broadcast.into(),
        OptName::DontRoute => options.dont_route.into(),
        OptName::OobInline => options.tcp.urgent_inline.into(),
        OptName::KeepAlive => tcp.keepalive.into(),
        OptName::SendBuffer => doubled(tcp.send_buffer),
        OptName::RecvBuffer => doubled(tcp.recv_buffer),
        OptName::SendLowWater => 1,
        OptName::Mark => options.mark,
        OptName::ZeroCopy => options.zero_copy.into(),
        OptName::RecvLowWater => options.recv_low_water as i32,
        OptName::Priority => options.priority,
        OptName::BusyPoll => options.busy_poll,
        // AF_INET.
        OptName::Domain => 2,
        OptName::IncomingCpu => options.incoming_cpu,
        OptName::Tos => options.tos.into(),
        OptName::Ttl => options.ttl.into(),
        OptName::MtuDiscover => options.mtu_discover,
        OptName::V6Only
        | OptName::AutoFlowLabel
        | OptName::Hops
        | OptName::TrafficClass
        | OptName::MtuDiscoverV6 => stored_v6(&options.v6, name),
        _ => stored_tcp(options, name),
    })
}

/// SO_RCVLOWAT of a stream: at most what its buffer may hold; negative is as much as that (tcp_set_rcvlowat).
fn low_water(tcp: &TcpOptions, value: i32, most: usize) -> u32 {
    let wanted = if value < 0 { u32::MAX } else { value.max(1) as u32 };
    wanted.min(if tcp.recv_locked { tcp.recv_buffer } else { most as u32 })
}

/// A buffer as Linux tells it: data and what it takes to keep them.
fn doubled(octets: u32) -> i32 {
    i32::try_from(octets.saturating_mul(2)).unwrap_or(i32::MAX)
}

fn congestion(name: &[u8; 16]) -> Result<Algorithm> {
    let name = name.split(|&b| b == 0).next().unwrap_or_default();
    Algorithm::from_name(name).ok_or(SocketError::NoEntry)
}

fn padded(name: &str) -> [u8; 16] {
    core::array::from_fn(|i| name.as_bytes().get(i).copied().unwrap_or(0))
}

fn info(entry: &Entry) -> Option<Info> {
    entry.connection().map(|c| c.tcb.info())
}
