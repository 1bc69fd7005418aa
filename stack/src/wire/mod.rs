//! Bytes ↔ headers, and checksums. RFC 791, 768, 9293, 792.

pub mod tcp;
