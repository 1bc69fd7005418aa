//! The drills, one file an RFC; RFC 9293 has one file a section.

mod bbr;
mod rfc1191;
mod rfc1337;
mod rfc2018;
mod rfc3168;
mod rfc3465;
mod rfc4898;
mod rfc4987;
mod rfc5482;
mod rfc5681;
mod rfc5682;
mod rfc5927;
mod rfc5961;
mod rfc6191;
mod rfc6298;
mod rfc6528;
mod rfc6582;
mod rfc6928;
mod rfc7323;
mod rfc7413;
mod rfc8899;
mod rfc8985;
mod rfc9293;
mod rfc9406;
mod rfc9438;

use crate::drill::{Drill, On};

/// A drill by name.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its file and its function: `rfc5961::a_reset_must_hit_exactly`.
    pub name: &'static str,
    /// Runs it; it panics when the TCP does not pass.
    pub run: fn(On),
}

/// The rows of one file: names each function once, so that none is forgotten (an unnamed one is dead code).
macro_rules! drills {
    ($($name:ident),* $(,)?) => {
        pub(in crate::drills) const DRILLS: &[$crate::drills::Row] =
            &[$($crate::drills::Row { name: concat!(module_path!(), "::", stringify!($name)), run: $name }),*];
    };
}
use drills;

const FILES: &[&[&[Row]]] = &[
    &[
        bbr::DRILLS,
        rfc1191::DRILLS,
        rfc1337::DRILLS,
        rfc2018::DRILLS,
        rfc3168::DRILLS,
        rfc3465::DRILLS,
        rfc4898::DRILLS,
        rfc4987::DRILLS,
        rfc5482::DRILLS,
        rfc5681::DRILLS,
        rfc5682::DRILLS,
        rfc5927::DRILLS,
        rfc5961::DRILLS,
        rfc6191::DRILLS,
        rfc6298::DRILLS,
        rfc6528::DRILLS,
        rfc6582::DRILLS,
        rfc6928::DRILLS,
        rfc7323::DRILLS,
        rfc7413::DRILLS,
        rfc8899::DRILLS,
        rfc8985::DRILLS,
        rfc9406::DRILLS,
        rfc9438::DRILLS,
    ],
    rfc9293::FILES,
];

/// Every drill there is.
pub fn all() -> impl Iterator<Item = Row> {
    FILES
        .iter()
        .flat_map(|folder| folder.iter())
        .flat_map(|file| file.iter())
        .map(|row| Row { name: row.name.strip_prefix("drill::drills::").unwrap_or(row.name), run: row.run })
}

/// So many segments in flight, or as many as may be, over a path of 100 ms; they were just sent.
fn in_flight(on: On, options: &str, segments: u32) -> Drill {
    let mut d = Drill::accepted_far(on, options, 100);
    d.write(1, segments * 1000).expect("room for them");
    assert_eq!(d.sent().len() as u32, segments.min(10), "{d}");
    d
}

/// What was sent by now: the places of its octets in the stream.
fn ranges(d: &mut Drill) -> Vec<(u32, u32)> {
    let sent = d.sent();
    sent.iter().map(|segment| d.range(segment)).collect()
}
