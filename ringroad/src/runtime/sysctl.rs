//! What the host has set for its own sockets holds for ours: who tuned a machine did it for the programs on it (Linux:
//! Documentation/networking/ip-sysctl.rst, admin-guide/sysctl/net.rst).
//!
//! A setting that is not there (an older kernel, a container that hides it) or out of the bounds that the kernel checks
//! leaves Linux's default; one that is longer or more than a socket's option of that name can say is as much as that can.
//! They are read once, when the stack begins.

use std::str::FromStr;
use std::time::Duration;

use stack::config::{AutoLabels, Config};

/// Takes over the host's settings, of the network namespace that the process is in.
pub(super) fn follow(config: &mut Config) {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/{name}")).ok();
    Host { read: &read }.tell(config);
}

/// The host's settings, by their names below `/proc/sys/net`.
struct Host<'a> {
    read: &'a dyn Fn(&str) -> Option<String>,
}

impl Host<'_> {
    fn tell(&self, config: &mut Config) {
        self.tell_tcp(config);
        let sockets = &mut config.sockets;
        self.set("ipv4/ip_default_ttl", &mut sockets.ttl, 1..=255);
        self.set("core/somaxconn", &mut sockets.backlog_max, 0..=u32::MAX);
        self.set("core/wmem_default", &mut sockets.udp_send_buffer, BUFFERS);
        self.set("core/rmem_default", &mut sockets.udp_recv_buffer, BUFFERS);
        self.set("core/wmem_max", &mut sockets.send_buffer_ask, BUFFERS);
        self.set("core/rmem_max", &mut sockets.recv_buffer_ask, BUFFERS);
        if let Some(only @ 0..=1) = self.number::<u8>("ipv6/bindv6only") {
            sockets.v6_only = only != 0;
        }
        sockets.auto_labels = match self.number::<u8>("ipv6/auto_flowlabels") {
            Some(0) => AutoLabels::Never,
            Some(1) => AutoLabels::Usually,
            Some(2) => AutoLabels::OnDemand,
            Some(3) => AutoLabels::Always,
            _ => sockets.auto_labels,
        };
    }

    fn tell_tcp(&self, config: &mut Config) {
        let tcp = &mut config.tcp;
        self.set("ipv4/tcp_fastopen", &mut tcp.fast_open, 0..=u32::MAX);
        self.set("ipv4/tcp_mtu_probing", &mut tcp.mtu_probing, 0..=2);
        self.set("ipv4/tcp_syncookies", &mut tcp.syn_cookies, 0..=2);
        self.set("ipv4/tcp_syn_retries", &mut tcp.syn_retries, 1..=127);
        for (name, retries) in
            [("ipv4/tcp_synack_retries", &mut tcp.synack_retries), ("ipv4/tcp_retries2", &mut tcp.retries)]
        {
            *retries = self.number(name).unwrap_or(*retries).min(MOST_RETRIES);
        }
        if let Some(seconds) = self.seconds("ipv4/tcp_keepalive_time") {
            tcp.keepalive_idle = seconds;
        }
        if let Some(seconds) = self.seconds("ipv4/tcp_keepalive_intvl") {
            tcp.keepalive_interval = seconds;
        }
        if let Some(probes @ 1..) = self.number::<u8>("ipv4/tcp_keepalive_probes") {
            tcp.keepalive_count = probes.min(MOST_PROBES);
        }
        if let Some(seconds) = self.seconds("ipv4/tcp_fin_timeout") {
            tcp.fin_timeout = Duration::from_secs(seconds.into());
        }
        // RFC 3168's answer to those who want AccECN, which nobody has to give.
        tcp.ecn = match self.number::<u8>("ipv4/tcp_ecn") {
            Some(mode @ 0..=2) => mode,
            Some(3 | 4) => 1,
            Some(5) => 2,
            _ => tcp.ecn,
        };
        // Half of what Linux counts is data. A send buffer grows with the handshake, there as here.
        if let Some([first, most]) = self.sizes("ipv4/tcp_rmem") {
            (tcp.recv_buffer, tcp.recv_buffer_max) = (first / 2, most.max(first) / 2);
        }
        if let Some([first, most]) = self.sizes("ipv4/tcp_wmem") {
            tcp.send_buffer_max = most.max(first) / 2;
            tcp.send_buffer = tcp.send_buffer.max(first / 2).min(tcp.send_buffer_max);
        }
    }

    /// A number that the kernel would not take is none of its.
    fn set<T: FromStr + PartialOrd>(&self, name: &str, to: &mut T, bounds: std::ops::RangeInclusive<T>) {
        if let Some(value) = self.number(name).filter(|value| bounds.contains(value)) {
            *to = value;
        }
    }

    fn number<T: FromStr>(&self, name: &str) -> Option<T> {
        (self.read)(name)?.trim().parse().ok()
    }

    /// A time that is one, of those that the kernel takes whatever they are.
    fn seconds(&self, name: &str) -> Option<u16> {
        let seconds = self.number::<i32>(name).filter(|seconds| *seconds > 0)?;
        Some(u16::try_from(seconds).unwrap_or(u16::MAX).min(MOST_SECONDS))
    }

    /// The first and the most of a buffer, in bytes. (The least is for a host that runs out of memory.)
    fn sizes(&self, name: &str) -> Option<[usize; 2]> {
        let text = (self.read)(name)?;
        let numbers = text.split_whitespace().skip(1);
        let mut sizes = numbers.map(|word| word.parse().ok().filter(|size| SIZES.contains(size)));
        Some([sizes.next()??, sizes.next()??])
    }
}

/// More take hours, which no path is away for.
const MOST_RETRIES: u8 = 127;
/// What TCP_KEEPCNT can say.
const MOST_PROBES: u8 = 127;
/// What TCP_KEEPIDLE and TCP_KEEPINTVL can say.
const MOST_SECONDS: u16 = 32_767;
/// Bytes of a buffer: from what a frame takes to what an `int` tells.
const BUFFERS: std::ops::RangeInclusive<u32> = 4608..=i32::MAX as u32;
/// Bytes of TCP's buffers.
const SIZES: std::ops::RangeInclusive<usize> = 4096..=i32::MAX as usize;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(settings: &[(&str, &str)]) -> Config {
        let mut config = Config::default();
        let read = |name: &str| settings.iter().find(|(n, _)| *n == name).map(|(_, v)| format!("{v}\n"));
        Host { read: &read }.tell(&mut config);
        config
    }

    #[test]
    fn what_the_host_has_set_holds() {
        let config = told(&[
            ("ipv4/ip_default_ttl", "32"),
            ("ipv4/tcp_ecn", "1"),
            ("ipv4/tcp_fastopen", "1027"),
            ("ipv4/tcp_fin_timeout", "15"),
            ("ipv4/tcp_keepalive_time", "600"),
            ("ipv4/tcp_keepalive_intvl", "30"),
            ("ipv4/tcp_keepalive_probes", "5"),
            ("ipv4/tcp_retries2", "8"),
            ("ipv4/tcp_syn_retries", "3"),
            ("ipv4/tcp_synack_retries", "2"),
            ("ipv4/tcp_rmem", "4096\t262144\t8388608"),
            ("ipv4/tcp_wmem", "4096 131072 1048576"),
            ("ipv6/bindv6only", "1"),
            ("ipv6/auto_flowlabels", "3"),
            ("core/somaxconn", "128"),
            ("core/rmem_default", "300000"),
            ("core/rmem_max", "500000"),
        ]);
        let (tcp, sockets) = (&config.tcp, &config.sockets);
        assert_eq!((sockets.ttl, tcp.ecn, tcp.fast_open), (32, 1, 1027));
        assert_eq!(tcp.fin_timeout, Duration::from_secs(15));
        assert_eq!((tcp.keepalive_idle, tcp.keepalive_interval, tcp.keepalive_count), (600, 30, 5));
        assert_eq!((tcp.retries, tcp.syn_retries, tcp.synack_retries), (8, 3, 2));
        assert_eq!((tcp.recv_buffer, tcp.recv_buffer_max), (131_072, 4 << 20));
        assert_eq!((tcp.send_buffer, tcp.send_buffer_max), (65_536, 512 << 10));
        assert_eq!((sockets.v6_only, sockets.auto_labels), (true, AutoLabels::Always));
        assert_eq!((sockets.backlog_max, sockets.udp_recv_buffer), (128, 300_000));
        assert_eq!((sockets.recv_buffer_ask, sockets.send_buffer_ask), (500_000, 4 << 20));
    }

    #[test]
    fn linux_s_own_settings_are_the_defaults() {
        let linux = told(&[
            ("ipv4/ip_default_ttl", "64"),
            ("ipv4/tcp_ecn", "2"),
            ("ipv4/tcp_fastopen", "1"),
            ("ipv4/tcp_fin_timeout", "60"),
            ("ipv4/tcp_keepalive_time", "7200"),
            ("ipv4/tcp_keepalive_intvl", "75"),
            ("ipv4/tcp_keepalive_probes", "9"),
            ("ipv4/tcp_retries2", "15"),
            ("ipv4/tcp_syn_retries", "6"),
            ("ipv4/tcp_synack_retries", "5"),
            ("ipv4/tcp_rmem", "4096 131072 33554432"),
            ("ipv4/tcp_wmem", "4096 16384 4194304"),
            ("ipv6/auto_flowlabels", "1"),
            ("core/somaxconn", "4096"),
            ("core/rmem_default", "212992"),
            ("core/wmem_max", "4194304"),
        ]);
        assert_eq!(format!("{linux:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn what_the_kernel_would_refuse_changes_nothing() {
        let odd = told(&[
            ("ipv4/ip_default_ttl", "0"),
            ("ipv4/tcp_ecn", "9"),
            ("ipv4/tcp_fin_timeout", "0"),
            ("ipv4/tcp_keepalive_time", "0"),
            ("ipv4/tcp_keepalive_intvl", "-5"),
            ("ipv4/tcp_keepalive_probes", "0"),
            ("ipv4/tcp_syn_retries", "many"),
            ("ipv4/tcp_rmem", "4096 131072"),
            ("ipv4/tcp_wmem", "1 2 -3"),
            ("ipv6/auto_flowlabels", ""),
            ("core/rmem_max", "1"),
        ]);
        assert_eq!(format!("{odd:?}"), format!("{:?}", Config::default()));
    }

    /// A day without a word, as some hosts have it, is no reason to ask after two hours.
    #[test]
    fn what_is_longer_than_an_option_can_say_is_as_long_as_it_can() {
        let tcp = told(&[
            ("ipv4/tcp_keepalive_time", "86400"),
            ("ipv4/tcp_keepalive_intvl", "40000"),
            ("ipv4/tcp_keepalive_probes", "200"),
            ("ipv4/tcp_fin_timeout", "300"),
            ("ipv4/tcp_rmem", "1024 262144 8388608"),
        ])
        .tcp;
        assert_eq!((tcp.keepalive_idle, tcp.keepalive_interval, tcp.keepalive_count), (32_767, 32_767, 127));
        assert_eq!((tcp.fin_timeout, tcp.recv_buffer), (Duration::from_secs(300), 131_072));
    }

    /// Only RFC 3168's ECN is here.
    #[test]
    fn who_wants_accurate_ecn_gets_the_classic_one() {
        let ecn = |mode| told(&[("ipv4/tcp_ecn", mode)]).tcp.ecn;
        assert_eq!(["3", "4", "5"].map(ecn), [1, 1, 2]);
    }
}
