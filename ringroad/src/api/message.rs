//! `recvmsg` and `sendmsg` of a kernel socket, with control messages.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use stack::types::IfaceId;

use super::Meta;

const SOL_UDP: libc::c_int = 17;
const UDP_SEGMENT: libc::c_int = 103;
const UDP_GRO: libc::c_int = 104;
/// Words of control messages; all that are asked for take half of it.
const WORDS: usize = 64;

/// Control messages: words, so that headers are aligned, and how many bytes are used.
struct Control {
    words: [u64; WORDS],
    used: usize,
}

impl Control {
    fn new() -> Self {
        Self { words: [0; WORDS], used: 0 }
    }

    /// Adds one with at most 24 bytes of data.
    fn add(&mut self, level: libc::c_int, kind: libc::c_int, data: &[u8]) {
        let at = self.used / 8;
        let room = &mut self.words[at..];
        room[0] = (16 + data.len()) as u64;
        room[1] = u64::from(level as u32) | u64::from(kind as u32) << 32;
        for (word, bytes) in room[2..].iter_mut().zip(data.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_ne_bytes(whole);
        }
        self.used += 16 + data.len().next_multiple_of(8);
    }

    /// Level, kind, and the first bytes of the data of each.
    fn iter(&self) -> impl Iterator<Item = (libc::c_int, libc::c_int, [u8; 24])> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let words = self.words.get(at..self.used.div_ceil(8).min(WORDS))?;
            let (len, meta) = (*words.first()? as usize, *words.get(1)?);
            if len < 16 {
                return None;
            }
            at += len.div_ceil(8);
            let mut data = [0; 24];
            for (bytes, word) in data.chunks_mut(8).zip(&words[2..]) {
                bytes.copy_from_slice(&word.to_ne_bytes());
            }
            Some((meta as libc::c_int, (meta >> 32) as libc::c_int, data))
        })
    }
}

/// Turns on what [`recv`] tells of IPv4 datagrams.
pub(super) fn ask_for_meta(fd: BorrowedFd<'_>) -> io::Result<()> {
    for name in [libc::IP_PKTINFO, libc::IP_RECVTTL, libc::IP_RECVTOS] {
        set(fd, libc::IPPROTO_IP, name, 1)?;
    }
    // Sockets of IPv4 do not have these, and need not.
    for name in [libc::IPV6_RECVPKTINFO, libc::IPV6_RECVHOPLIMIT, libc::IPV6_RECVTCLASS] {
        let _ = set(fd, libc::IPPROTO_IPV6, name, 1);
    }
    Ok(())
}

/// UDP_GRO.
pub(super) fn set_gro(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set(fd, SOL_UDP, UDP_GRO, on.into())
}

/// IP_ADD_SOURCE_MEMBERSHIP or IP_DROP_SOURCE_MEMBERSHIP: group, interface, source.
pub(super) fn change_source(fd: BorrowedFd<'_>, join: bool, of: [Ipv4Addr; 3]) -> io::Result<()> {
    let name = if join { libc::IP_ADD_SOURCE_MEMBERSHIP } else { libc::IP_DROP_SOURCE_MEMBERSHIP };
    // struct ip_mreq_source: group, interface, source.
    let raw = of.map(|a| u32::from(a).to_be());
    let len = size_of_val(&raw) as libc::socklen_t;
    // SAFETY: three words, which is what the struct is made of.
    match unsafe { libc::setsockopt(fd.as_raw_fd(), libc::IPPROTO_IP, name, raw.as_ptr().cast(), len) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn set(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: a readable int of the length that is said.
    match unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), len) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Receives one datagram, or with UDP_GRO a train of them. By which interface it came, too, if the kernel says so.
pub(super) fn recv(fd: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<(usize, Meta, Option<IfaceId>)> {
    let mut name = [0u64; 4];
    let mut control = Control::new();
    let mut buffer = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    // SAFETY: zeroes are a value of a C struct of integers and pointers.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = name.as_mut_ptr().cast();
    message.msg_namelen = size_of_val(&name) as libc::socklen_t;
    (message.msg_iov, message.msg_iovlen) = (&raw mut buffer, 1);
    message.msg_control = control.words.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control.words) as _;
    // SAFETY: name, buffer and control are writable for the lengths that are said, and outlive the call.
    let n = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, 0) };
    let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
    control.used = message.msg_controllen as usize;
    let (mut meta, mut via) = (Meta { remote: from_c(&name), ..Meta::default() }, None);
    for (level, kind, data) in control.iter() {
        let int = i32::from_ne_bytes([data[0], data[1], data[2], data[3]]);
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                meta.local = Some(IpAddr::from([data[8], data[9], data[10], data[11]]));
                via = u32::try_from(int).ok().map(IfaceId);
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let octets: Option<[u8; 16]> = data.get(..16).and_then(|o| o.try_into().ok());
                meta.local = meta.local.or(octets.map(|o| IpAddr::from(o).to_canonical()));
                via = via.or(data[16..].first_chunk().map(|index| IfaceId(u32::from_ne_bytes(*index))));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => meta.ttl = u8::try_from(int).ok(),
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => meta.tos = u8::try_from(int).ok(),
            (libc::IPPROTO_IP, libc::IP_TTL) => meta.ttl = u8::try_from(int).ok(),
            (libc::IPPROTO_IP, libc::IP_TOS) => meta.tos = Some(data[0]),
            (SOL_UDP, UDP_GRO) => meta.segment = u16::try_from(int).ok(),
            _ => {}
        }
    }
    Ok((n, meta, via))
}

/// Sends one datagram, or with a segment's length many.
pub(super) fn send(fd: BorrowedFd<'_>, bytes: &[u8], meta: &Meta) -> io::Result<usize> {
    let mut control = Control::new();
    match meta.local {
        Some(IpAddr::V4(local)) => {
            let mut info = [0; 12];
            info[4..8].copy_from_slice(&local.octets());
            control.add(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
        }
        Some(IpAddr::V6(local)) => {
            let mut info = [0; 20];
            info[..16].copy_from_slice(&local.octets());
            control.add(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
        }
        None => {}
    }
    let v6 = meta.remote.is_some_and(|remote| remote.ip().to_canonical().is_ipv6());
    let (level, ttl_name, tos_name) = match v6 {
        true => (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, libc::IPV6_TCLASS),
        false => (libc::IPPROTO_IP, libc::IP_TTL, libc::IP_TOS),
    };
    if let Some(ttl) = meta.ttl {
        control.add(level, ttl_name, &i32::from(ttl).to_ne_bytes());
    }
    if let Some(tos) = meta.tos {
        control.add(level, tos_name, &i32::from(tos).to_ne_bytes());
    }
    if let Some(segment) = meta.segment {
        control.add(SOL_UDP, UDP_SEGMENT, &segment.to_ne_bytes());
    }
    let (mut name, name_len) = meta.remote.map_or(([0; 4], 0), to_c);
    let mut buffer = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: zeroes are a value of a C struct of integers and pointers.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    if name_len > 0 {
        (message.msg_name, message.msg_namelen) = (name.as_mut_ptr().cast(), name_len);
    }
    (message.msg_iov, message.msg_iovlen) = (&raw mut buffer, 1);
    if control.used > 0 {
        message.msg_control = control.words.as_mut_ptr().cast();
        message.msg_controllen = control.used as _;
    }
    // SAFETY: name, buffer and control are readable for the lengths that are said, and outlive the call.
    let n = unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// `struct sockaddr_in` or `sockaddr_in6` as words, and its length.
fn to_c(address: SocketAddr) -> ([u64; 4], libc::socklen_t) {
    let mut bytes = [0; 32];
    bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
    let (family, len) = match address {
        SocketAddr::V4(v4) => {
            bytes[4..8].copy_from_slice(&v4.ip().octets());
            (libc::AF_INET, 16)
        }
        SocketAddr::V6(v6) => {
            bytes[8..24].copy_from_slice(&v6.ip().octets());
            bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
            (libc::AF_INET6, 28)
        }
    };
    bytes[..2].copy_from_slice(&(family as u16).to_ne_bytes());
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
    }
    (words, len)
}

fn from_c(words: &[u64; 4]) -> Option<SocketAddr> {
    let mut bytes = [0; 32];
    for (word, bytes) in words.iter().zip(bytes.chunks_exact_mut(8)) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    let family = libc::c_int::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
    let port = u16::from_be_bytes([bytes[2], bytes[3]]);
    match family {
        libc::AF_INET => {
            Some(SocketAddr::from((Ipv4Addr::new(bytes[4], bytes[5], bytes[6], bytes[7]), port)))
        }
        libc::AF_INET6 => {
            let octets: [u8; 16] = bytes[8..24].try_into().ok()?;
            let scope = u32::from_ne_bytes([bytes[24], bytes[25], bytes[26], bytes[27]]);
            Some(std::net::SocketAddrV6::new(octets.into(), port, 0, scope).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_is_sent_beside_the_bytes_arrives() {
        let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("0.0.0.0:0").unwrap());
        ask_for_meta(b.as_fd()).unwrap();
        let to = SocketAddr::from(([127, 0, 0, 1], b.local_addr().unwrap().port()));
        let meta = Meta { ttl: Some(7), tos: Some(0x20), ..Meta::to(to) };
        assert_eq!(send(a.as_fd(), b"hello", &meta).unwrap(), 5);
        let mut buffer = [0; 100];
        let (n, told, via) = recv(b.as_fd(), &mut buffer).unwrap();
        assert_eq!(via, Some(IfaceId::LOOPBACK));
        let local = Some([127, 0, 0, 1].into());
        let expected = Meta { local, ttl: Some(7), tos: Some(0x20), ..Meta::to(a.local_addr().unwrap()) };
        assert_eq!((&buffer[..n], told), (&b"hello"[..], expected));
        send(b.as_fd(), b"abcdefg", &Meta { segment: Some(3), ..told.answer() }).unwrap();
        let mut got = Vec::new();
        for _ in 0..3 {
            let (n, told, _) = recv(a.as_fd(), &mut buffer).unwrap();
            assert_eq!(told.remote, Some(to));
            got.push(buffer[..n].to_vec());
        }
        assert_eq!(got, [&b"abc"[..], b"def", b"g"]);
    }

    #[test]
    fn addresses_go_to_c_and_back() {
        for text in ["10.1.2.3:4", "[fe80::1%5]:6"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(from_c(&to_c(address).0), Some(address));
        }
        assert_eq!(from_c(&[0; 4]), None);
    }
}
