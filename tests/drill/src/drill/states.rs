//! A connection in any state.

use stack::error::SocketError;
use stack::socket::OptName;

use super::{Drill, On};
use crate::subject::{Knob, State};

impl Drill {
    /// A connection in `state`, whose peer's SYN has these options where it has sent one; the peer's next number,
    /// and the ACK of all that was sent. Nothing is unread, nothing unsent.
    ///
    /// # Panics
    /// When the way there is another.
    #[must_use]
    pub fn in_state_with(on: On, state: State, options: &str, knobs: &[Knob]) -> (Self, u32, u32) {
        let mut d = Self::with(on, knobs);
        match state {
            State::Closed | State::SynSent => {
                assert_eq!(d.connect(), Err(SocketError::InProgress.into()));
                d.expect("S 0:0(0)");
                if state == State::Closed {
                    d.inject("R. 0:0(0) ack 1");
                    assert_eq!(d.state(), state, "{d}");
                    return (d, 1, 1);
                }
                return (d, 0, 1);
            }
            State::Listen => {
                d.listen();
                return (d, 0, 1);
            }
            State::SynReceived => {
                d.inject(&format!("S 0:0(0) win 20000 {options}"));
                d.expect("S. 0:0(0) ack 1");
                return (d, 1, 1);
            }
            _ => d.accept(options),
        }
        let ts = if options.contains("TS") { "<TS 3 last>" } else { "" };
        let (mut seq, mut ack) = (1, 1);
        d.set(OptName::QuickAck, 0);
        if matches!(state, State::CloseWait | State::LastAck) {
            d.inject(&format!("F. 1:1(0) ack 1 {ts}"));
            d.expect(". 1:1(0) ack 2");
            seq = 2;
        }
        if !matches!(state, State::Established | State::CloseWait) {
            d.shutdown();
            d.expect("F. 1:1(0)");
            ack = 2;
        }
        if matches!(state, State::FinWait2 | State::TimeWait) {
            d.inject(&format!(". 1:1(0) ack 2 {ts}"));
        }
        if matches!(state, State::Closing | State::TimeWait) {
            d.inject(&format!("F. 1:1(0) ack 1 {ts}"));
            d.expect(". 2:2(0) ack 2");
            seq = 2;
        }
        assert_eq!(d.state(), state, "{d}");
        d.silent();
        (d, seq, ack)
    }
}
