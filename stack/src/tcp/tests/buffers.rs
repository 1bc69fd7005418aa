//! Buffers that fit themselves to the path (RFC 7323 §1.1: the window has to hold what the path does): bulk data
//! over a link with a rate and a delay, in virtual time. Linux: tcp_rcv_space_adjust, tcp_sndbuf_expand.

use core::time::Duration;
use std::collections::VecDeque;

use super::drill::pattern;
use super::host::Host;
use crate::config::TcpConfig;
use crate::error::SocketError;
use crate::tcp::{State, TcpOptions};
use crate::time::Instant;

/// One way.
const DELAY: Duration = Duration::from_millis(20);
/// Octets a second.
const RATE: u64 = 2_500_000;

/// A sender and a receiver, and what is under way between them.
struct Path {
    hosts: [Host; 2],
    now: Instant,
    /// Segments for host 0 and host 1, with their arrival, in order.
    under_way: [VecDeque<(Instant, Vec<u8>)>; 2],
    /// When the link towards the receiver is free again.
    free_at: Instant,
    sent: u32,
    received: u32,
    /// The receiver's application reads.
    reads: bool,
}

impl Path {
    fn new(options: [TcpOptions; 2]) -> Self {
        let config = TcpConfig::default();
        let mut hosts = [Host::new(8192, 40000, 80), Host::new(8192, 80, 40000)];
        core::mem::swap(&mut hosts[1].flow.local, &mut hosts[1].flow.remote);
        hosts[1].flow.local.set_port(80);
        hosts[1].flow.remote.set_port(40000);
        for (host, options) in hosts.iter_mut().zip(options) {
            (host.config, host.options) = (config.clone(), options);
        }
        hosts[0].connect().unwrap();
        let now = hosts[0].now;
        let under_way = [VecDeque::new(), VecDeque::new()];
        Self { hosts, now, under_way, free_at: now, sent: 0, received: 0, reads: true }
    }

    fn plain() -> [TcpOptions; 2] {
        [TcpOptions::new(&TcpConfig::default()); 2]
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.applications();
            self.put_on_the_link();
            let timers = self.hosts.iter().filter_map(|h| Some(h.tcb.as_ref()?.next_deadline()));
            let arrivals = self.under_way.iter().filter_map(|q| Some(q.front()?.0));
            let next = timers.chain(arrivals).min().unwrap_or(end).min(end);
            self.now = self.now.max(next);
            for host in &mut self.hosts {
                host.run_to(self.now);
            }
            for (host, queue) in self.hosts.iter_mut().zip(&mut self.under_way) {
                while queue.front().is_some_and(|(at, _)| *at <= self.now) {
                    host.receive(&queue.pop_front().unwrap().1);
                }
            }
        }
    }

    fn applications(&mut self) {
        let open = |h: &Host| h.tcb.as_ref().is_some_and(|t| t.state == State::Established);
        while open(&self.hosts[0]) {
            let bytes: Vec<u8> = (self.sent..self.sent + 16_384).map(pattern).collect();
            match self.hosts[0].send(&bytes) {
                Ok(n) => self.sent += n as u32,
                Err(SocketError::WouldBlock) => break,
                Err(other) => panic!("send: {other}"),
            }
        }
        while self.reads && open(&self.hosts[1]) {
            match self.hosts[1].recv(1 << 16) {
                Ok(bytes) => {
                    assert!(bytes.iter().zip(self.received..).all(|(b, n)| *b == pattern(n)));
                    self.received += bytes.len() as u32;
                }
                Err(SocketError::WouldBlock) => break,
                Err(other) => panic!("recv: {other}"),
            }
        }
    }

    fn put_on_the_link(&mut self) {
        for (from, to) in [(0, 1), (1, 0)] {
            while let Some(bytes) = self.hosts[from].wire.sent.pop_front() {
                let begins = if to == 1 { self.free_at.max(self.now) } else { self.now };
                let takes = Duration::from_nanos(bytes.len() as u64 * 1_000_000_000 / RATE);
                if to == 1 {
                    self.free_at = begins + takes;
                }
                self.under_way[to].push_back((begins + takes + DELAY, bytes));
            }
        }
    }

    /// Octets a second that the receiver's application gets, over the next second.
    fn goodput(&mut self) -> u64 {
        let before = self.received;
        self.run(Duration::from_secs(1));
        u64::from(self.received - before)
    }

    fn close(mut self) {
        for host in &mut self.hosts {
            host.close_books();
        }
    }
}

#[test]
fn bulk_over_40_ms_gets_the_full_rate_and_the_window_opens_with_the_path() {
    let mut path = Path::new(Path::plain());
    path.run(Duration::from_secs(1));
    let goodput = path.goodput();
    assert!(goodput > RATE * 9 / 10, "{goodput} octets a second");
    let window = path.hosts[1].tcb().recv_buffer();
    let bdp = (RATE * 2 * DELAY.as_millis() as u64 / 1000) as u32;
    // The link's queue takes what it is given, so that the path grows with the window; in Linux too.
    assert!(bdp <= window, "{window} octets for a path of {bdp}");
    assert!(path.hosts[0].tcb().send_buffer() >= bdp);
    path.close();
}

#[test]
fn a_receive_buffer_that_was_set_stays_and_sets_the_rate() {
    let mut options = Path::plain();
    (options[1].recv_buffer, options[1].recv_locked) = (64 << 10, true);
    let mut path = Path::new(options);
    path.run(Duration::from_secs(1));
    let goodput = path.goodput();
    assert!(goodput <= (64 << 10) * 25 && goodput > (64 << 10) * 20, "{goodput} octets a second");
    assert_eq!(path.hosts[1].tcb().recv_buffer(), 64 << 10);
    path.close();
}

#[test]
fn a_send_buffer_that_was_set_stays_and_sets_the_rate() {
    let mut options = Path::plain();
    (options[0].send_buffer, options[0].send_locked) = (64 << 10, true);
    let mut path = Path::new(options);
    path.run(Duration::from_secs(1));
    let goodput = path.goodput();
    assert!(goodput <= (66 << 10) * 25, "{goodput} octets a second");
    assert_eq!(path.hosts[0].tcb().send_buffer(), 64 << 10);
    path.close();
}

/// RFC 9293 §3.8.6.2.2: the window clamp is offered in worthwhile steps like any window.
#[test]
fn a_clamped_window_sets_the_rate() {
    let mut options = Path::plain();
    options[1].window_clamp = 50_000;
    let mut path = Path::new(options);
    path.run(Duration::from_secs(1));
    let goodput = path.goodput();
    assert!(goodput <= 50_000 * 25 && goodput > 50_000 * 20, "{goodput} octets a second");
    path.close();
}

#[test]
fn a_buffer_that_nobody_reads_does_not_grow() {
    let mut path = Path::new(Path::plain());
    path.reads = false;
    path.run(Duration::from_secs(1));
    assert_eq!(path.hosts[1].tcb().recv_buffer(), 64 << 10);
    assert!(path.hosts[1].tcb().recv_queue() <= 64 << 10);
    path.close();
}

#[test]
fn no_buffer_grows_over_its_limit() {
    let mut path = Path::new(Path::plain());
    for host in &mut path.hosts {
        (host.config.recv_buffer_max, host.config.send_buffer_max) = (100_000, 100_000);
    }
    path.run(Duration::from_secs(1));
    assert_eq!(path.hosts[1].tcb().recv_buffer(), 100_000);
    assert_eq!(path.hosts[0].tcb().send_buffer(), 100_000);
    path.close();
}

/// RFC 9293 SHLD-27's spirit: what an application does not use costs nothing.
#[test]
fn a_connection_that_does_little_measures_nothing() {
    let mut path = Path::new(Path::plain());
    path.hosts[0].options.send_buffer = 1;
    path.hosts[0].run_to(path.now);
    assert!(path.hosts[0].tcb().buffers.is_none() && path.hosts[1].tcb.is_none());
    path.put_on_the_link();
    path.close();
}
