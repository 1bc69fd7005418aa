//! Socket addresses, in and out of the application.

use core::net::{Ipv4Addr, SocketAddr};

use libc::{AF_INET, AF_INET6, AF_UNSPEC, sockaddr_in, sockaddr_in6, socklen_t};

use super::Place;
use crate::errno::Errno;

/// What a `sockaddr` said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// An address and port, in the family that was said.
    Inet(SocketAddr),
    /// AF_UNSPEC: dissolve the association.
    Unspecified,
    /// Another family, or an address too short to tell: the kernel knows what to say.
    Other,
}

/// The shortest `sockaddr_in6` that Linux takes: that of RFC 2133, without a scope.
const SHORT_IN6: usize = 24;

/// Reads a `sockaddr` of `len` bytes.
///
/// # Errors
/// EINVAL for a length out of range; EFAULT.
pub(crate) fn read_sockaddr(place: Place, len: socklen_t) -> Result<Named, Errno> {
    let len = len as usize;
    if len > size_of::<libc::sockaddr_storage>() {
        return Err(Errno(libc::EINVAL));
    }
    if len < size_of::<libc::sa_family_t>() {
        return Ok(Named::Other);
    }
    match i32::from(place.read::<u16>()?) {
        AF_UNSPEC => Ok(Named::Unspecified),
        AF_INET if len >= size_of::<sockaddr_in>() => {
            let raw: sockaddr_in = place.read()?;
            let address = Ipv4Addr::from(u32::from_be(raw.sin_addr.s_addr));
            Ok(Named::Inet(SocketAddr::new(address.into(), u16::from_be(raw.sin_port))))
        }
        AF_INET6 if len >= SHORT_IN6 => {
            let mut bytes = [0; size_of::<sockaddr_in6>()];
            let len = if len < bytes.len() { SHORT_IN6 } else { bytes.len() };
            place.read_into(&mut bytes[..len])?;
            Ok(from_c(&bytes).map_or(Named::Other, Named::Inet))
        }
        _ => Ok(Named::Other),
    }
}

/// The bytes of the C form of an address, and how many they are.
pub(crate) fn address_bytes(address: SocketAddr) -> ([u8; 28], usize) {
    let mut bytes = [0; 28];
    let family = if address.is_ipv4() { AF_INET } else { AF_INET6 };
    bytes[..2].copy_from_slice(&(family as u16).to_ne_bytes());
    bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
    match address {
        SocketAddr::V4(v4) => {
            bytes[4..8].copy_from_slice(&v4.ip().octets());
            (bytes, 16)
        }
        SocketAddr::V6(v6) => {
            bytes[4..8].copy_from_slice(&v6.flowinfo().to_be_bytes());
            bytes[8..24].copy_from_slice(&v6.ip().octets());
            bytes[24..].copy_from_slice(&v6.scope_id().to_ne_bytes());
            (bytes, 28)
        }
    }
}

/// The address whose C form these bytes are.
pub(crate) fn from_c(bytes: &[u8]) -> Option<SocketAddr> {
    let family = i32::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    match family {
        AF_INET => {
            let octets: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some(SocketAddr::from((octets, port)))
        }
        AF_INET6 => {
            let octets: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            let scope = u32::from_ne_bytes(bytes.get(24..28)?.try_into().ok()?);
            Some(SocketAddr::V6(core::net::SocketAddrV6::new(octets.into(), port, 0, scope)))
        }
        _ => None,
    }
}

/// Writes `address` where a call left room for one: as many bytes as `len` says, and the true length there.
/// A null `place` asks for nothing.
///
/// # Errors
/// EINVAL for a negative length; EFAULT.
pub(crate) fn write_sockaddr(place: Place, len: Place, address: SocketAddr) -> Result<(), Errno> {
    if place.is_null() {
        return Ok(());
    }
    let room: i32 = len.read()?;
    let room = usize::try_from(room).map_err(|_| Errno(libc::EINVAL))?;
    let written = put(place, room, address)?;
    Ok(len.write(&(written as u32))?)
}

/// Writes as much of `address` as there is room for. Answers its true length.
///
/// # Errors
/// EFAULT.
pub(super) fn put(place: Place, room: usize, address: SocketAddr) -> Result<usize, Errno> {
    let (bytes, full) = address_bytes(address);
    place.write_from(&bytes[..room.min(full)])?;
    Ok(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_goes_out_and_comes_back() {
        let address: SocketAddr = "10.77.0.1:8080".parse().unwrap();
        let (bytes, len) = address_bytes(address);
        let read = |len: usize| read_sockaddr(Place::from(bytes.as_ptr()), len as socklen_t);
        assert_eq!(read(len), Ok(Named::Inet(address)));
        assert_eq!(read(8), Ok(Named::Other));
        assert_eq!(read(129).unwrap_err().0, libc::EINVAL);
    }

    #[test]
    fn an_ipv6_address_may_come_without_its_scope() {
        let address: SocketAddr = "[fe80::1%3]:8080".parse().unwrap();
        let (bytes, len) = address_bytes(address);
        let read = |len: usize| read_sockaddr(Place::from(bytes.as_ptr()), len as socklen_t).unwrap();
        assert_eq!((len, read(28)), (28, Named::Inet(address)));
        assert_eq!(read(24), Named::Inet("[fe80::1]:8080".parse().unwrap()));
        assert_eq!(read(27), Named::Inet("[fe80::1]:8080".parse().unwrap()));
        assert_eq!(read(23), Named::Other);
    }

    #[test]
    fn the_bytes_of_an_address_are_read_again() {
        for address in ["10.77.0.1:8080", "[2001:db8::1%3]:53"] {
            let address: SocketAddr = address.parse().unwrap();
            let (bytes, len) = address_bytes(address);
            assert_eq!(from_c(&bytes[..len]), Some(address));
            assert_eq!(from_c(&bytes[..3]), None);
        }
        let v4 = address_bytes("10.77.0.1:8080".parse().unwrap()).0;
        assert_eq!(v4[..8], [2, 0, 0x1f, 0x90, 10, 77, 0, 1]);
    }

    #[test]
    fn a_short_buffer_gets_what_fits_and_the_true_length() {
        crate::signals::install_fault_handler();
        let mut room = [0xffu8; 16];
        let mut len: socklen_t = 4;
        let (at, at_len) = (Place::from(room.as_mut_ptr()), Place::from(&raw mut len));
        write_sockaddr(at, at_len, "1.2.3.4:80".parse().unwrap()).unwrap();
        assert_eq!(room[..6], [2, 0, 0, 80, 0xff, 0xff]);
        assert_eq!(len, 16);
        let mut len = -1i32;
        let wrong = write_sockaddr(at, Place::from(&raw mut len), "1.2.3.4:80".parse().unwrap());
        assert_eq!(wrong.unwrap_err().0, libc::EINVAL);
        assert_eq!(write_sockaddr(at, Place(0), "1.2.3.4:80".parse().unwrap()).unwrap_err().0, libc::EFAULT);
        assert_eq!(write_sockaddr(Place(0), Place(0), "1.2.3.4:80".parse().unwrap()), Ok(()));
    }
}
