//! What processes of a port say to each other of connections that change hands, over a [`Link`](crate::link::Link): one
//! octet says what, eight name the connection.

/// Asks for a connection; so does the answer begin, which encloses it as bytes, or nothing.
pub const CLAIM: u8 = 1;
/// Says that a copy was closed that was never used.
pub const RELEASE: u8 = 2;
/// Whoever asked has it.
pub const TAKEN: u8 = 3;
/// Whoever had it gives it back, as bytes.
pub const BACK: u8 = 4;
/// Answers [`CLAIM`] where whoever is asked has a copy still.
pub const LENT: u8 = 5;
/// Somebody else asks for it: it is to come back.
pub const RECALL: u8 = 6;
/// Whoever says it waits for a connection that somebody else has: it is to hear when there is something to read.
pub const WATCH: u8 = 7;
/// There is something to read, or nobody has the connection: who waits for it may ask for it.
pub const NEWS: u8 = 8;
/// Asks that a connection stay where it is and be pumped to descriptors of the kernel's, which come along; so does the
/// answer begin, which encloses both ends' addresses, or nothing.
pub const PUMP: u8 = 9;
/// Asks for both ends' addresses alone, which the answer encloses, or nothing: the connection stays where it is.
pub const NAMES: u8 = 10;
/// Answers [`RECALL`] between parent and child: the connection is the keeper's now, whose name for it is enclosed, and the
/// kernel's socket behind it comes beside.
pub const PASSED: u8 = 11;

/// Octets of one.
pub const LENGTH: usize = 9;

/// Says `what` of the connection `name`.
pub fn question(what: u8, name: u64) -> [u8; LENGTH] {
    let mut question = [what; LENGTH];
    question[1..].copy_from_slice(&name.to_ne_bytes());
    question
}

/// What was said, and of which connection; none of what makes no sense.
pub fn understood(text: &[u8]) -> Option<(u8, u64)> {
    let [what, name @ ..] = <[u8; LENGTH]>::try_from(text).ok()?;
    Some((what, u64::from_ne_bytes(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood_and_nothing_else() {
        assert_eq!(understood(&question(BACK, 7 << 40)), Some((BACK, 7 << 40)));
        assert_eq!((understood(b""), understood(&[CLAIM; 10])), (None, None));
    }
}
