//! From what was counted to what happens in a second.

use std::collections::HashMap;
use std::time::Instant;

use ringroad::control::model::{Report, SocketReport, StackReport};

/// Who a socket is, from one look to the next.
type Key = (u32, String, String, String);

/// A socket with what it did lately.
#[derive(Clone, Debug)]
pub(super) struct Busy {
    pub(super) socket: SocketReport,
    /// Bytes a second.
    pub(super) bytes_in: f64,
    pub(super) bytes_out: f64,
    /// Segments sent again since the last look.
    pub(super) resent: u64,
}

/// A stack with what it did lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Stack {
    pub(super) pid: u32,
    pub(super) command: String,
    pub(super) sockets: usize,
    /// A second: packets and bytes in and out, what was dropped, segments sent again.
    pub(super) packets_in: f64,
    pub(super) packets_out: f64,
    pub(super) bytes_in: f64,
    pub(super) bytes_out: f64,
    pub(super) dropped: f64,
    pub(super) resent: f64,
}

/// Two looks, and what lies between.
#[derive(Debug, Default)]
pub(super) struct Rates {
    counted: HashMap<u32, HashMap<String, u64>>,
    moved: HashMap<Key, (u64, u64, u64)>,
    looked: Option<Instant>,
    stacks: Vec<Stack>,
    sockets: Vec<Busy>,
}

impl Rates {
    /// The stacks, as they were at the last look.
    pub(super) fn stacks(&self) -> &[Stack] {
        &self.stacks
    }

    /// The sockets, the busiest first.
    pub(super) fn sockets(&self) -> &[Busy] {
        &self.sockets
    }

    /// Another look, at `now`.
    pub(super) fn take(&mut self, report: Report, now: Instant) {
        let seconds = self.looked.replace(now).map(|before| (now - before).as_secs_f64().max(1e-3));
        let (mut counted, mut moved) = (HashMap::new(), HashMap::new());
        self.stacks.clear();
        self.sockets.clear();
        for stack in report.stacks {
            self.stacks.push(self.stack(&stack, seconds));
            for socket in stack.sockets {
                let end = |text: &str| text.to_owned();
                let key = (stack.pid, end(&socket.protocol), end(&socket.local), end(&socket.remote));
                let now = (socket.bytes_in, socket.bytes_out, socket.retransmits);
                // What is seen for the first time has no rate yet.
                let before = self.moved.get(&key).copied().unwrap_or(now);
                let rate = |now: u64, before: u64| {
                    seconds.map_or(0.0, |seconds| now.saturating_sub(before) as f64 / seconds)
                };
                self.sockets.push(Busy {
                    bytes_in: rate(now.0, before.0),
                    bytes_out: rate(now.1, before.1),
                    resent: now.2.saturating_sub(before.2),
                    socket,
                });
                moved.insert(key, now);
            }
            counted.insert(stack.pid, stack.counters.into_iter().collect());
        }
        (self.counted, self.moved) = (counted, moved);
        let queued = |busy: &Busy| busy.socket.recv_queue + busy.socket.send_queue;
        self.sockets.sort_by(|a, b| {
            let rate = |busy: &Busy| busy.bytes_in + busy.bytes_out;
            rate(b).total_cmp(&rate(a)).then(queued(b).cmp(&queued(a)))
        });
    }

    fn stack(&self, stack: &StackReport, seconds: Option<f64>) -> Stack {
        let before = self.counted.get(&stack.pid);
        let rate = |wanted: &dyn Fn(&str) -> bool| -> f64 {
            let (Some(before), Some(seconds)) = (before, seconds) else { return 0.0 };
            let counters = stack.counters.iter().filter(|(name, _)| wanted(name));
            let more = counters.map(|(name, n)| n.saturating_sub(before.get(name).copied().unwrap_or(*n)));
            more.sum::<u64>() as f64 / seconds
        };
        Stack {
            pid: stack.pid,
            command: stack.command.clone(),
            sockets: stack.sockets.len(),
            packets_in: rate(&|name| name == "rx_frames"),
            packets_out: rate(&|name| name == "tx_frames"),
            bytes_in: rate(&|name| name == "rx_bytes"),
            bytes_out: rate(&|name| name == "tx_bytes"),
            dropped: rate(&|name| name.starts_with("drop_")),
            resent: rate(&|name| name == "tcp_retransmits"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn report(frames: u64, moved: &[(&str, u64)]) -> Report {
        let sockets = moved
            .iter()
            .map(|(remote, bytes)| SocketReport {
                protocol: "tcp".into(),
                remote: (*remote).into(),
                bytes_out: *bytes,
                ..SocketReport::default()
            })
            .collect();
        let counters = [("rx_frames".to_owned(), frames), ("drop_denied_in".to_owned(), frames / 2)];
        let stack = StackReport { pid: 7, sockets, counters: counters.into(), ..StackReport::default() };
        Report { stacks: vec![stack] }
    }

    #[test]
    fn rates_are_what_was_counted_between_two_looks_and_the_busiest_comes_first() {
        let mut rates = Rates::default();
        let start = Instant::now();
        rates.take(report(1000, &[("a", 500), ("b", 500)]), start);
        assert_eq!((rates.stacks()[0].packets_in, rates.sockets()[0].bytes_out), (0.0, 0.0));
        rates
            .take(report(1400, &[("a", 600), ("b", 5500), ("c", 9_999_999)]), start + Duration::from_secs(2));
        let stack = &rates.stacks()[0];
        assert_eq!((stack.packets_in, stack.dropped, stack.sockets), (200.0, 100.0, 3));
        let told: Vec<_> = rates.sockets().iter().map(|s| (s.socket.remote.as_str(), s.bytes_out)).collect();
        assert_eq!(told, [("b", 2500.0), ("a", 50.0), ("c", 0.0)]);
    }
}
