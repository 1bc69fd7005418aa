//! How long waits of one kind spin, where that is set.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What a thread waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A receive.
    Recv,
    /// A send that has no room.
    Send,
    /// An accept.
    Accept,
    /// A connect.
    Connect,
    /// poll, select and their kin.
    Poll,
    /// epoll_wait and its kin.
    Epoll,
}

/// The calls and their names, in the order of the variants.
const CALLS: [(Call, &str); 6] = [
    (Call::Recv, "recv"),
    (Call::Send, "send"),
    (Call::Accept, "accept"),
    (Call::Connect, "connect"),
    (Call::Poll, "poll"),
    (Call::Epoll, "epoll"),
];

/// A time for each [`Call`] that has one. As text: `recv=50,epoll=0`, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spins([Option<Duration>; CALLS.len()]);

impl Spins {
    /// How long waits in `call` spin, if that is set.
    #[inline]
    pub fn of(&self, call: Call) -> Option<Duration> {
        self.0[call as usize]
    }
}

impl FromStr for Spins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut spins = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let found = part.split_once('=').and_then(|(name, micros)| {
                let (call, _) = CALLS.iter().find(|(_, known)| *known == name.trim())?;
                Some((*call, micros.trim().parse().ok()?))
            });
            let (call, micros) = found.ok_or_else(|| {
                let names: Vec<&str> = CALLS.iter().map(|(_, name)| *name).collect();
                format!("expected CALL=MICROSECONDS with a call of {}", names.join(", "))
            })?;
            spins.0[call as usize] = Some(Duration::from_micros(micros));
        }
        Ok(spins)
    }
}

impl fmt::Display for Spins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (call, name) in CALLS {
            if let Some(spin) = self.of(call) {
                write!(f, "{between}{name}={}", spin.as_micros())?;
                between = ",";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let spins: Spins = " recv=50, epoll=0".parse().unwrap();
        assert_eq!(spins.of(Call::Recv), Some(Duration::from_micros(50)));
        assert_eq!((spins.of(Call::Epoll), spins.of(Call::Poll)), (Some(Duration::ZERO), None));
        assert_eq!(spins.to_string(), "recv=50,epoll=0");
        assert_eq!(spins.to_string().parse(), Ok(spins));
        assert_eq!("".parse(), Ok(Spins::default()));
        assert!(CALLS.iter().enumerate().all(|(at, (call, _))| *call as usize == at));
    }

    #[test]
    fn a_call_that_nobody_knows_is_answered_with_those_that_are() {
        for bad in ["read=5", "recv", "recv=x", "recv=-1", "=5"] {
            let error = bad.parse::<Spins>().unwrap_err();
            assert_eq!(
                error,
                "expected CALL=MICROSECONDS with a call of recv, send, accept, connect, poll, epoll"
            );
        }
    }
}
