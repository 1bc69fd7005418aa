//! What comes beside the bytes of a datagram.

use std::net::{IpAddr, SocketAddr};

/// What is known of a datagram that came, or asked of one that goes. What is `None` was not told, or is left to
/// the socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The other end: who sent it, or to whom it goes (`None`: the connected peer).
    pub remote: Option<SocketAddr>,
    /// The address of this host: where it was sent to, or is to be sent from.
    pub local: Option<IpAddr>,
    /// Time to live, or hop limit.
    pub ttl: Option<u8>,
    /// Type of service, or traffic class: DSCP and ECN.
    pub tos: Option<u8>,
    /// Bytes in each datagram of a train but the last, which may be shorter: one call, many datagrams.
    pub segment: Option<u16>,
}

impl Meta {
    /// To `remote`.
    pub fn to(remote: SocketAddr) -> Self {
        Self { remote: Some(remote), ..Self::default() }
    }

    /// What an answer needs: from the address that this datagram was sent to, to who sent it. A datagram to a
    /// group is answered from an address of this host's own choice.
    pub fn answer(&self) -> Self {
        let local = self.local.filter(|ip| !ip.is_multicast() && *ip != IpAddr::V4([255; 4].into()));
        Self { remote: self.remote, local, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_goes_back_the_way_the_question_came() {
        let remote = "10.0.0.2:53".parse().unwrap();
        let came =
            Meta { remote: Some(remote), local: Some([10, 0, 0, 1].into()), ttl: Some(9), ..Meta::default() };
        assert_eq!(came.answer(), Meta { local: Some([10, 0, 0, 1].into()), ..Meta::to(remote) });
        let group = Meta { local: Some([224, 0, 0, 251].into()), ..came };
        assert_eq!(group.answer(), Meta::to(remote));
    }
}
