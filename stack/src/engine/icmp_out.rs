//! ICMP errors out: to whom and of what, how often, and how (RFC 1122 §3.2.2, RFC 4443 §2.4).

use core::net::IpAddr;

use nic::Pkt;

use super::headers::IpHeader;
use super::{STRAY_ANSWERS, Stack};
use crate::ip::fragments::Expired;
use crate::ip::input::{Arrived, Refused};
use crate::time::Instant;
use crate::types::IfaceId;
use crate::wire::ipv6_ext::Problem;
use crate::wire::{checksum, ethernet, icmp, icmpv6, ipv4, ipv6};

/// RFC 1812 §4.3.2.5: precedence 6, Internetwork Control, as Linux sends its errors. ICMPv6 has no such wish.
const TOS_V4: u8 = 0xc0;
const TTL: u8 = 64;

/// An error that is to be sent.
struct Answer {
    /// Whose packet it answers.
    to: IpAddr,
    from: IpAddr,
    iface: IfaceId,
    message: [u8; icmpv6::HEADER + icmpv6::QUOTE],
    len: usize,
}

impl Stack {
    /// RFC 1122 §4.1.3.1, RFC 4443 §3.1: nobody is there, and the sender may know. The gate has let the datagram
    /// in; groups are never answered.
    pub(super) fn port_unreachable(&mut self, now: Instant, pkt: &Pkt, arrived: &Arrived) {
        if arrived.to_group || !self.may_answer(now) {
            return;
        }
        let (to, from, iface) = (arrived.source, arrived.destination, arrived.iface);
        let mut answer = Answer { to, from, iface, message: [0; icmpv6::HEADER + icmpv6::QUOTE], len: 0 };
        let bytes = self.core.pool.bytes(pkt);
        // What stands behind the datagram in the packet may be cut off already.
        let packet = &bytes[arrived.packet.start..arrived.packet.end.min(bytes.len())];
        let most = if to.is_ipv4() { icmp::QUOTE } else { icmpv6::QUOTE };
        let quoted = &packet[..packet.len().min(most)];
        let len = match to {
            IpAddr::V4(_) => icmp::Emit::PortUnreachable.write(quoted, &mut answer.message),
            IpAddr::V6(_) => icmpv6::Emit::PortUnreachable.write(quoted, &mut answer.message),
        };
        answer.len = len.unwrap_or(0);
        self.send_answer(now, answer);
    }

    /// Drops a packet that input refused, and tells its sender if he is to know.
    #[cold]
    pub(super) fn refuse_packet(&mut self, now: Instant, iface: IfaceId, pkt: Pkt, refused: Refused) {
        let Refused { reason, answer } = refused;
        // With a policy in force, who cannot be judged gets no answer.
        if let Some(problem) = answer
            && self.core.out.gate.is_open()
        {
            self.parameter_problem(now, iface, &pkt, problem);
        }
        self.drop_packet(pkt, reason);
    }

    /// RFC 4443 §3.4, for what RFC 8200 §4 says of headers and options that are not known.
    fn parameter_problem(&mut self, now: Instant, iface: IfaceId, pkt: &Pkt, problem: Problem) {
        let bytes = self.core.pool.bytes(pkt);
        let Some(packet) = bytes.get(ethernet::HEADER..) else { return };
        let Ok(header) = ipv6::parse(packet) else { return };
        let (to, to_us) = (IpAddr::V6(header.source), IpAddr::V6(header.destination));
        let control = &self.core.out.control;
        // RFC 4443 §2.2: what was sent to a group is answered from an address of ours.
        let from = if control.is_own(to_us, iface) {
            Some(to_us)
        } else {
            control.route(to, iface.0).and_then(|hop| hop.source)
        };
        let Some(from) = from else { return };
        let quoted = &packet[..packet.len().min(ipv6::HEADER + header.payload_len).min(icmpv6::QUOTE)];
        let mut answer = Answer { to, from, iface, message: [0; icmpv6::HEADER + icmpv6::QUOTE], len: 0 };
        let written = icmpv6::Emit::ParameterProblem(problem).write(quoted, &mut answer.message);
        answer.len = written.unwrap_or(0);
        if self.may_answer(now) {
            self.send_answer(now, answer);
        }
    }

    /// RFC 1122 §3.3.2, RFC 4443 §3.3: pieces of a packet did not come in time. With a policy in force, who cannot
    /// be judged gets no answer.
    pub(super) fn time_exceeded(&mut self, now: Instant, expired: &Expired) {
        if !self.core.out.gate.is_open() || !self.may_answer(now) {
            return;
        }
        let (to, from, iface) = (expired.source, expired.destination, expired.iface);
        let mut answer = Answer { to, from, iface, message: [0; icmpv6::HEADER + icmpv6::QUOTE], len: 0 };
        let len = match to {
            IpAddr::V4(_) => icmp::Emit::ReassemblyTimeout.write(expired.quote(), &mut answer.message),
            IpAddr::V6(_) => icmpv6::Emit::ReassemblyTimeout.write(expired.quote(), &mut answer.message),
        };
        answer.len = len.unwrap_or(0);
        self.send_answer(now, answer);
    }

    fn may_answer(&mut self, now: Instant) -> bool {
        let may = self.unreachables.take(now, STRAY_ANSWERS);
        if !may {
            self.core.stats.answers_limited += 1;
        }
        may
    }

    fn send_answer(&mut self, now: Instant, mut answer: Answer) {
        let Answer { to, from, iface, len, .. } = answer;
        if len == 0 {
            return;
        }
        let protocol = if to.is_ipv4() { ipv4::ICMP } else { ipv6::ICMP };
        if to.is_ipv6() {
            let pseudo = checksum::pseudo(from, to, protocol, len as u16);
            icmpv6::seal(&mut answer.message[..len], pseudo);
        }
        let Some(mut pkt) = self.core.pool.alloc() else { return };
        let _ = self.core.pool.append_with(&mut pkt, len, |room| {
            room.copy_from_slice(&answer.message[..len]);
            Ok::<_, ()>(len)
        });
        let tos = if to.is_ipv4() { TOS_V4 } else { 0 };
        let payload = len as u16;
        let header = IpHeader { source: from, destination: to, protocol, tos, ttl: TTL, label: 0, payload };
        if self.core.out.send_raw(&mut self.core.pool, pkt, (&header, iface), now).is_ok() {
            self.core.stats.icmp_errors_out += 1;
        }
    }
}
