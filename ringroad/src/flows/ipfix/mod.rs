//! IPFIX (RFC 7011): messages of flow records, written and read.
//!
//! A flow is told with both directions in one record; its source is who began it, so `initiator` and `responder` are the
//! IANA's words for them (elements 231, 232, 298, 299: payload, as RFC 5102 has it). A process is an observation domain with
//! its pid as number; an options record says which host and command that is. What the IANA has no element for is under the
//! enterprise number that RFC 5612 keeps for examples, for want of one of our own.

mod decode;
mod encode;

pub use decode::{Decoder, Malformed, message_len};
pub use encode::{Done, Encoder, Preamble, Source, Told};

/// RFC 5612: for examples.
pub const ENTERPRISE: u32 = 32473;
/// RFC 7011 §10.3.3 asks for no more than the path takes; as much is written at a time, whoever reads it.
pub const MOST: usize = 1400;
/// IPFIX.
const VERSION: u16 = 10;
/// The header of a message, in bytes.
const HEADER: usize = 16;
/// Sets by their numbers.
const TEMPLATES: u16 = 2;
const OPTIONS_TEMPLATES: u16 = 3;
const FLOW_V4: u16 = 256;
const FLOW_V6: u16 = 257;
const SOURCE: u16 = 258;
/// A length that stands in the record (RFC 7011 §7).
const VARIABLE: u16 = u16::MAX;
/// The bit that says that an enterprise number follows.
const FOREIGN: u16 = 0x8000;

/// An information element: whose, its number, and its length in our records.
type Element = (bool, u16, u16);

const fn iana(id: u16, len: u16) -> Element {
    (false, id, len)
}

const fn ours(id: u16, len: u16) -> Element {
    (true, id, len)
}

/// The IANA's elements by their names.
mod id {
    pub(super) const PROTOCOL: u16 = 4;
    pub(super) const SOURCE_PORT: u16 = 7;
    pub(super) const SOURCE_V4: u16 = 8;
    pub(super) const DESTINATION_PORT: u16 = 11;
    pub(super) const DESTINATION_V4: u16 = 12;
    pub(super) const SOURCE_V6: u16 = 27;
    pub(super) const DESTINATION_V6: u16 = 28;
    pub(super) const FLOW_DIRECTION: u16 = 61;
    pub(super) const FLOW_END_REASON: u16 = 136;
    pub(super) const DOMAIN_ID: u16 = 149;
    pub(super) const START_MS: u16 = 152;
    pub(super) const END_MS: u16 = 153;
    pub(super) const INITIATOR_OCTETS: u16 = 231;
    pub(super) const RESPONDER_OCTETS: u16 = 232;
    pub(super) const INITIATOR_PACKETS: u16 = 298;
    pub(super) const RESPONDER_PACKETS: u16 = 299;
    pub(super) const DOMAIN_NAME: u16 = 300;
}

/// Elements of our own: TCP_INFO's number of the state; segments sent again; the smoothed round-trip time in microseconds;
/// the gate's verdict (0 allowed, 1 monitored, 2 denied), its table, its rule; the command of a process.
mod own {
    pub(super) const STATE: u16 = 1;
    pub(super) const RETRANSMITS: u16 = 2;
    pub(super) const SRTT_US: u16 = 3;
    pub(super) const VERDICT: u16 = 4;
    pub(super) const TABLE: u16 = 5;
    pub(super) const RULE: u16 = 6;
    pub(super) const COMMAND: u16 = 7;
}

/// What records of both families have behind their addresses.
const REST: [Element; 17] = [
    iana(id::SOURCE_PORT, 2),
    iana(id::DESTINATION_PORT, 2),
    iana(id::PROTOCOL, 1),
    iana(id::FLOW_DIRECTION, 1),
    iana(id::FLOW_END_REASON, 1),
    iana(id::START_MS, 8),
    iana(id::END_MS, 8),
    iana(id::INITIATOR_OCTETS, 8),
    iana(id::RESPONDER_OCTETS, 8),
    iana(id::INITIATOR_PACKETS, 4),
    iana(id::RESPONDER_PACKETS, 4),
    ours(own::RETRANSMITS, 4),
    ours(own::SRTT_US, 4),
    ours(own::STATE, 1),
    ours(own::VERDICT, 1),
    ours(own::TABLE, VARIABLE),
    ours(own::RULE, VARIABLE),
];
const ADDRESSES_V4: [Element; 2] = [iana(id::SOURCE_V4, 4), iana(id::DESTINATION_V4, 4)];
const ADDRESSES_V6: [Element; 2] = [iana(id::SOURCE_V6, 16), iana(id::DESTINATION_V6, 16)];
/// Of which the first is the scope.
const OF_SOURCE: [Element; 3] =
    [iana(id::DOMAIN_ID, 4), iana(id::DOMAIN_NAME, VARIABLE), ours(own::COMMAND, VARIABLE)];

/// Why a flow is told of (RFC 5102 §5.11.3): it goes on, it has ended.
const ACTIVE: u8 = 2;
const ENDED: u8 = 3;
