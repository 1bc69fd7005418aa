//! RFC 9293, one file a section.

mod events;
mod s3_1;
mod s3_10;
mod s3_5;
mod s3_6;
mod s3_7;
mod s3_8_1;
mod s3_8_4;
mod s3_8_6;
mod s3_9;

use super::{Row, drills};

/// The files of this folder.
pub(super) const FILES: &[&[Row]] = &[
    events::DRILLS,
    s3_1::DRILLS,
    s3_9::DRILLS,
    s3_10::DRILLS,
    s3_5::DRILLS,
    s3_6::DRILLS,
    s3_7::DRILLS,
    s3_8_1::DRILLS,
    s3_8_4::DRILLS,
    s3_8_6::DRILLS,
];
