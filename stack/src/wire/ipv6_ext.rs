//! Extension headers (RFC 8200 §4): which transport a packet carries, and what is to be said when a header or
//! an option is one that we do not know.
//!
//! The walk is bounded, as RFC 8504 §5.3 and RFC 9673 §5 let it be and as Linux does it: so many headers, so
//! many options in each, so much padding in a row. None of them means anything to us; whoever sends more is up
//! to something.

use super::ipv6::HEADER;
use super::{be16, be32};

/// Hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;
/// Routing.
pub const ROUTING: u8 = 43;
/// Fragment.
pub const FRAGMENT: u8 = 44;
/// Destination options.
pub const DESTINATION: u8 = 60;

/// Extension headers in one packet: RFC 8200 §4.1 has at most one of each kind and destination options twice,
/// which makes five beside those that are the kernel's.
const MOST_HEADERS: usize = 6;
/// Options in one header, padding apart (Linux: net.ipv6.max_dst_opts_number).
const MOST_OPTIONS: usize = 8;
/// Bytes of padding in a row: more than aligns anything to eight bytes (Linux; RFC 8504 §5.3).
const MOST_PADDING: usize = 7;

/// What a sender is told of a header that we do not understand (RFC 4443 §3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The code of the parameter problem: 0 a field, 1 a next header, 2 an option.
    pub code: u8,
    /// Where in the packet.
    pub pointer: u32,
    /// Whether it is told even when the packet was sent to a group.
    pub to_groups_too: bool,
}

/// Why the walk ended before a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A header is longer than the packet.
    Truncated,
    /// A piece of a larger packet whose transport is not the first thing that was cut.
    Fragment,
    /// Over the bounds, or padding that is none.
    Malformed,
    /// Not understood; the sender asked not to be told.
    Silent,
    /// Not understood, and the sender is to know.
    Problem(Problem),
}

/// A transport, found behind the extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its protocol number.
    pub protocol: u8,
    /// Where it begins in the packet.
    pub at: usize,
    /// It is a piece of it only, of which the transport's beginning need not be one.
    pub piece: Option<Piece>,
}

/// Where a piece of a packet belongs (RFC 8200 §4.5, RFC 791 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What all pieces of the packet have in common.
    pub id: u32,
    /// Its first octet's place among those that were cut.
    pub offset: u16,
    /// Whether others follow.
    pub more: bool,
}

/// Walks from the header `next`, which follows the IPv6 header of `packet`, to the first that is none of the
/// extension headers. `packet` ends where the IPv6 header says.
///
/// # Errors
/// [`Fault`].
pub fn walk(packet: &[u8], next: u8) -> Result<Found, Fault> {
    // Where the number of the next header stands, for a problem with it.
    let (mut next, mut said_at, mut at) = (next, 6, HEADER);
    for n in 0..=MOST_HEADERS {
        let len = match next {
            HOP_BY_HOP if n > 0 => return Err(problem(1, said_at)),
            HOP_BY_HOP | DESTINATION => options(packet, at)?,
            ROUTING => routing(packet, at)?,
            FRAGMENT => match fragment(packet, at)? {
                None => 8,
                // What follows the first piece's header is the transport, or more headers that only it has.
                Some(_) if is_extension(packet[at]) => return Err(Fault::Fragment),
                piece => return Ok(Found { protocol: packet[at], at: at + 8, piece }),
            },
            protocol => return Ok(Found { protocol, at, piece: None }),
        };
        (next, said_at) = (packet[at], at);
        at += len;
    }
    Err(Fault::Malformed)
}

fn problem(code: u8, at: usize) -> Fault {
    Fault::Problem(Problem { code, pointer: at as u32, to_groups_too: false })
}

/// The bytes of a header whose second byte says how long it is.
fn whole(packet: &[u8], at: usize) -> Result<&[u8], Fault> {
    let len = packet.get(at + 1).map(|units| 8 + 8 * usize::from(*units)).ok_or(Fault::Truncated)?;
    packet.get(at..at + len).ok_or(Fault::Truncated)
}

/// RFC 8200 §4.4: with no segments left it means nothing any more. Type 0 is as unknown as any other (RFC 5095).
fn routing(packet: &[u8], at: usize) -> Result<usize, Fault> {
    let header = whole(packet, at)?;
    if header[3] != 0 {
        return Err(problem(0, at + 2));
    }
    Ok(header.len())
}

/// RFC 8200 §4.5: a fragment that is the whole packet is no fragment (RFC 6946).
fn fragment(packet: &[u8], at: usize) -> Result<Option<Piece>, Fault> {
    let offset_and_more = be16(packet, at + 2).ok_or(Fault::Truncated)?;
    let id = be32(packet, at + 4).ok_or(Fault::Truncated)?;
    let piece = Piece { id, offset: offset_and_more & 0xfff8, more: offset_and_more & 1 != 0 };
    Ok((piece.more || piece.offset > 0).then_some(piece))
}

fn is_extension(next: u8) -> bool {
    matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION)
}

/// RFC 8200 §4.2: options that we do not know are skipped when they say so. There is none that we have to know.
fn options(packet: &[u8], at: usize) -> Result<usize, Fault> {
    let header = whole(packet, at)?;
    let (mut i, mut options, mut padding) = (2, 0, 0);
    while i < header.len() {
        let kind = header[i];
        if kind == 0 {
            i += 1;
            padding += 1;
        } else {
            let len = header.get(i + 1).map(|len| 2 + usize::from(*len)).ok_or(Fault::Malformed)?;
            let data = header.get(i + 2..i + len).ok_or(Fault::Malformed)?;
            if kind == 1 {
                if data.iter().any(|b| *b != 0) {
                    return Err(Fault::Malformed);
                }
                padding += len;
            } else {
                unknown(kind, at + i)?;
                options += 1;
                padding = 0;
            }
            i += len;
        }
        if options > MOST_OPTIONS || padding > MOST_PADDING {
            return Err(Fault::Malformed);
        }
    }
    Ok(header.len())
}

/// RFC 8200 §4.2: what the two high bits of an unknown option's type ask for.
fn unknown(kind: u8, at: usize) -> Result<(), Fault> {
    match kind >> 6 {
        0 => Ok(()),
        1 => Err(Fault::Silent),
        action => Err(Fault::Problem(Problem { code: 2, pointer: at as u32, to_groups_too: action == 2 })),
    }
}

#[cfg(test)]
mod tests {
    //! RFC 8200 §4.

    use super::*;

    /// A packet of a zeroed IPv6 header and `rest`.
    fn packet(rest: &[&[u8]]) -> Vec<u8> {
        let mut p = vec![0; HEADER];
        p.extend(rest.concat());
        p
    }

    const PADDED: [u8; 8] = [DESTINATION, 0, 1, 4, 0, 0, 0, 0];

    #[test]
    fn a_transport_at_once() {
        assert_eq!(walk(&packet(&[]), 6), Ok(Found { protocol: 6, at: 40, piece: None }));
        assert_eq!(walk(&packet(&[]), 59), Ok(Found { protocol: 59, at: 40, piece: None }));
    }

    #[test]
    fn all_kinds_in_the_order_of_section_4_1() {
        let routing = [FRAGMENT, 0, 0, 0, 0, 0, 0, 0];
        let atomic = [DESTINATION, 0, 0, 6, 1, 2, 3, 4];
        let mut first_routing = PADDED;
        first_routing[0] = ROUTING;
        let mut last = PADDED;
        last[0] = 17;
        let p = packet(&[&PADDED, &first_routing, &routing, &atomic, &last]);
        assert_eq!(walk(&p, HOP_BY_HOP), Ok(Found { protocol: 17, at: 80, piece: None }));
        assert_eq!(walk(&p[..79], HOP_BY_HOP), Err(Fault::Truncated));
    }

    #[test]
    fn hop_by_hop_comes_first_or_not_at_all() {
        let mut first = PADDED;
        first[0] = HOP_BY_HOP;
        let p = packet(&[&first, &PADDED]);
        // The number stands at the front of the first extension header.
        assert_eq!(walk(&p, DESTINATION), Err(problem(1, 40)));
    }

    #[test]
    fn the_chain_is_bounded() {
        let p = packet(&[&PADDED[..]; 40]);
        assert_eq!(walk(&p, DESTINATION), Err(Fault::Malformed));
        let mut last = PADDED;
        last[0] = 6;
        let p = packet(&[&PADDED, &PADDED, &PADDED, &PADDED, &PADDED, &last]);
        assert_eq!(walk(&p, DESTINATION), Ok(Found { protocol: 6, at: 88, piece: None }));
    }

    #[test]
    fn pieces_are_told_from_the_whole() {
        for (word, piece) in [(0x0000u16, false), (0x0006, false), (0x0001, true), (0x0008, true)] {
            let [a, b] = word.to_be_bytes();
            let p = packet(&[&[6, 0, a, b, 0, 0, 0, 1]]);
            let piece = piece.then_some(Piece { id: 1, offset: word & 0xfff8, more: word & 1 != 0 });
            assert_eq!(walk(&p, FRAGMENT), Ok(Found { protocol: 6, at: 48, piece }), "{word:#x}");
        }
    }

    /// RFC 8200 §4.4
    #[test]
    fn a_routing_header_that_asks_for_more_is_refused() {
        for kind in [0, 2, 4, 253] {
            assert_eq!(walk(&packet(&[&[6, 0, kind, 1, 0, 0, 0, 0]]), ROUTING), Err(problem(0, 42)));
            assert!(walk(&packet(&[&[6, 0, kind, 0, 0, 0, 0, 0]]), ROUTING).is_ok());
        }
    }

    /// RFC 8200 §4.2
    #[test]
    fn unknown_options_get_what_their_type_asks_for() {
        let with = |kind| walk(&packet(&[&[6, 0, 0, kind, 2, 9, 9, 0]]), DESTINATION);
        assert_eq!(with(0x3e), Ok(Found { protocol: 6, at: 48, piece: None }));
        assert_eq!(with(0x7e), Err(Fault::Silent));
        let told = |to_groups_too| Err(Fault::Problem(Problem { code: 2, pointer: 43, to_groups_too }));
        assert_eq!(with(0xbe), told(true));
        assert_eq!(with(0xfe), told(false));
        // The jumbo payload option is no exception.
        assert_eq!(with(0xc2), told(false));
    }

    #[test]
    fn options_and_padding_are_bounded() {
        let eight = [&[6u8, 2][..], &[0x1e, 0].repeat(8), &[1, 4, 0, 0, 0, 0]].concat();
        assert_eq!(eight.len(), 24);
        assert!(walk(&packet(&[&eight]), DESTINATION).is_ok());
        let nine = [&[6u8, 2][..], &[0x1e, 0].repeat(9), &[1, 2, 0, 0]].concat();
        assert_eq!(walk(&packet(&[&nine]), DESTINATION), Err(Fault::Malformed));
        let padding = |body: &[u8]| walk(&packet(&[&[&[6u8, 1][..], body].concat()]), DESTINATION);
        assert_eq!(padding(&[0; 14]), Err(Fault::Malformed));
        assert_eq!(padding(&[1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Err(Fault::Malformed));
        assert_eq!(
            padding(&[0, 0, 0, 0, 0x1e, 1, 7, 1, 5, 0, 0, 0, 0, 0]),
            Ok(Found { protocol: 6, at: 56, piece: None })
        );
        assert_eq!(padding(&[0, 0, 0, 0, 0x1e, 1, 7, 1, 5, 0, 0, 0, 0, 1]), Err(Fault::Malformed));
        // An option that ends behind its header.
        assert_eq!(padding(&[0, 0, 0, 0, 0x1e, 9, 7, 1, 5, 0, 0, 0, 0, 0]), Err(Fault::Malformed));
        assert_eq!(padding(&[0, 0, 0, 0, 0x1e, 1, 7, 0, 0, 0, 0, 0, 0, 1]), Err(Fault::Malformed));
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_the_walk_ends_inside(next: u8, rest in proptest::collection::vec(0u8.., 0..300)) {
            let p = packet(&[&rest]);
            if let Ok(found) = walk(&p, next) {
                proptest::prop_assert!(found.at <= p.len());
            }
        }
    }
}
