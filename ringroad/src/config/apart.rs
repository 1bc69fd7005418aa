//! The addresses of a stack that is no part of its host but a neighbour of it, behind a TAP device (the backend `tap`).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// The addresses, one of each family at the most, each with its network, in which the kernel's side has another; none where
/// the stack has the host's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Apart(Vec<IpNet>);

impl Apart {
    /// Whether the stack has the host's addresses.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an address is the stack's.
    pub fn has(&self, address: IpAddr) -> bool {
        self.0.iter().any(|own| own.addr() == address)
    }

    /// The addresses with their networks.
    pub(crate) fn own(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.0.iter().copied()
    }
}

/// The address of the kernel's side in the network of one of the stack's: the first that is not the stack's own.
pub(crate) fn other_side(own: IpNet) -> Option<IpAddr> {
    // The first address of a network of IPv6 is every router's (RFC 4291 §2.6.1), unless there are two in all (RFC 6164).
    let is_free = |address: &IpAddr| {
        *address != own.addr() && (*address != own.network() || own.max_prefix_len() - own.prefix_len() == 1)
    };
    own.hosts().find(is_free)
}

impl FromStr for Apart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all: Vec<IpNet> = Vec::new();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let own: IpNet = word.parse().map_err(|_| "expected ADDRESS/PREFIX, as 10.88.0.2/24")?;
            let address = own.addr();
            let reserved = own.max_prefix_len() - own.prefix_len() > 1
                && (address == own.network() || address.is_ipv4() && address == own.broadcast());
            if reserved || address.is_unspecified() || address.is_loopback() || address.is_multicast() {
                return Err(format!("{address} is no address of a host in {}", own.trunc()));
            }
            if other_side(own).is_none() {
                return Err(format!("{own} leaves no address for the kernel's side"));
            }
            if all.iter().any(|other| other.addr().is_ipv4() == address.is_ipv4()) {
                return Err("one address of each family is what it takes".into());
            }
            all.push(own);
        }
        Ok(Self(all))
    }
}

impl fmt::Display for Apart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, own) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{own}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(text: &str) -> Result<Apart, String> {
        text.parse()
    }

    #[test]
    fn one_address_of_each_family_is_read_and_written() {
        let both = apart("10.88.0.2/24, fd88::2/64").unwrap();
        assert_eq!(both.to_string(), "10.88.0.2/24,fd88::2/64");
        assert_eq!(apart(&both.to_string()), Ok(both.clone()));
        assert!(both.has("fd88::2".parse().unwrap()) && !both.has("10.88.0.1".parse().unwrap()));
        assert_eq!(apart(""), Ok(Apart::default()));
        let wrong = [
            ("10.88.0.2", "expected ADDRESS/PREFIX, as 10.88.0.2/24"),
            ("10.88.0.0/24", "10.88.0.0 is no address of a host in 10.88.0.0/24"),
            ("10.88.0.255/24", "10.88.0.255 is no address of a host in 10.88.0.0/24"),
            ("fd88::/64", "fd88:: is no address of a host in fd88::/64"),
            ("127.0.0.2/8", "127.0.0.2 is no address of a host in 127.0.0.0/8"),
            ("10.88.0.2/32", "10.88.0.2/32 leaves no address for the kernel's side"),
            ("10.88.0.2/24,10.88.1.2/24", "one address of each family is what it takes"),
        ];
        for (text, fault) in wrong {
            assert_eq!(apart(text), Err(fault.to_owned()), "{text}");
        }
    }

    #[test]
    fn the_kernels_side_has_the_first_address_that_is_free() {
        let side = |text: &str| other_side(text.parse().unwrap()).map(|address| address.to_string());
        let expected = [
            ("10.88.0.2/24", "10.88.0.1"),
            ("10.88.0.1/24", "10.88.0.2"),
            ("10.88.0.3/31", "10.88.0.2"),
            ("fd88::2/64", "fd88::1"),
            ("fd88::1/64", "fd88::2"),
            ("fd88::1/127", "fd88::"),
        ];
        for (own, other) in expected {
            assert_eq!(side(own).as_deref(), Some(other), "{own}");
        }
        assert_eq!(side("fd88::1/128"), None);
    }
}
