//! The options that only datagrams have.

use super::datagram::{Datagram, Settings};
use crate::error::SocketError;
use crate::socket::stored::within;
use crate::socket::{OptName, Result};
use crate::udp::Wants;

impl Datagram {
    /// Sets one of them; checked as Linux does.
    ///
    /// # Errors
    /// `Invalid`, `NoProtocolOption`.
    pub(super) fn set_option(&mut self, name: OptName, value: i32) -> Result<()> {
        let on = value != 0;
        let settings = &mut self.settings;
        if let Some(bit) = wish(name) {
            settings.wants.set(bit, on);
            return Ok(());
        }
        match name {
            OptName::Timestamp => settings.wants.time(0, on),
            OptName::TimestampNs => settings.wants.time(Wants::TIME_NS, on),
            OptName::TimestampNew => settings.wants.time(Wants::TIME_NEW, on),
            OptName::TimestampNsNew => settings.wants.time(Wants::TIME_NS | Wants::TIME_NEW, on),
            OptName::Timestamping | OptName::TimestampingNew => {
                settings.wants.timestamping = value as u32;
                settings.wants.set(Wants::TIMESTAMPING_NEW, name == OptName::TimestampingNew);
            }
            OptName::NoCheck => settings.no_check = on,
            OptName::NoCheck6Tx => settings.no_check6_tx = on,
            OptName::NoCheck6Rx => settings.no_check6_rx = on,
            OptName::Segment => settings.segment = within(value, 0, i32::from(u16::MAX))? as u16,
            OptName::Gro => settings.gro = on,
            OptName::RecvError => {
                settings.recv_error = on;
                if on {
                    self.extra().errors.get_or_insert_default();
                }
            }
            OptName::MulticastTtl if value == -1 => settings.group_ttl = 1,
            OptName::MulticastTtl => settings.group_ttl = within(value, 0, 255)? as u8,
            OptName::MulticastAll => settings.group_all = within(value, 0, 1)? == 1,
            OptName::RecvErrorV6 => {
                settings.recv_error6 = on;
                if on {
                    self.extra().errors.get_or_insert_default();
                }
            }
            OptName::MulticastHops if value == -1 => settings.group_hops = 1,
            OptName::MulticastHops => settings.group_hops = within(value, 0, 255)? as u8,
            OptName::MulticastAllV6 => settings.group_all6 = on,
            _ => return Err(SocketError::NoProtocolOption),
        }
        Ok(())
    }

    /// Reads one of them.
    pub(super) fn option(&self, name: OptName) -> i32 {
        let Settings { wants, segment, group_ttl, .. } = self.settings;
        if let Some(bit) = wish(name) {
            return wants.has(bit).into();
        }
        let time = |form: u16| {
            let is = wants.has(Wants::TIME_NS) == (form & Wants::TIME_NS != 0)
                && wants.has(Wants::TIME_NEW) == (form & Wants::TIME_NEW != 0);
            i32::from(wants.has(Wants::TIME) && is)
        };
        match name {
            OptName::Timestamp => time(0),
            OptName::TimestampNs => time(Wants::TIME_NS),
            OptName::TimestampNew => time(Wants::TIME_NEW),
            OptName::TimestampNsNew => time(Wants::TIME_NS | Wants::TIME_NEW),
            OptName::Timestamping | OptName::TimestampingNew => wants.timestamping as i32,
            OptName::NoCheck => self.settings.no_check.into(),
            OptName::NoCheck6Tx => self.settings.no_check6_tx.into(),
            OptName::NoCheck6Rx => self.settings.no_check6_rx.into(),
            OptName::Segment => segment.into(),
            OptName::Gro => self.settings.gro.into(),
            OptName::RecvError => self.settings.recv_error.into(),
            OptName::MulticastTtl => group_ttl.into(),
            OptName::MulticastAll => self.settings.group_all.into(),
            OptName::RecvErrorV6 => self.settings.recv_error6.into(),
            OptName::MulticastHops => self.settings.group_hops.into(),
            OptName::MulticastAllV6 => self.settings.group_all6.into(),
            _ => 0,
        }
    }
}

/// The bit of an option that only asks to be told something.
fn wish(name: OptName) -> Option<u16> {
    Some(match name {
        OptName::PacketInfo => Wants::PACKET_INFO,
        OptName::RecvTtl => Wants::TTL,
        OptName::RecvTos => Wants::TOS,
        OptName::RecvOriginalDestination => Wants::ORIGINAL_DESTINATION,
        OptName::RecvPacketInfoV6 => Wants::PACKET_INFO_6,
        OptName::RecvHopLimit => Wants::HOP_LIMIT,
        OptName::RecvTrafficClass => Wants::TRAFFIC_CLASS,
        OptName::RecvOriginalDestinationV6 => Wants::ORIGINAL_DESTINATION_6,
        OptName::DropCount => Wants::DROPS,
        _ => return None,
    })
}
