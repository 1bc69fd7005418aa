//! What the kernel has to be told before it takes frames on its loopback device that none of its own sockets sent
//! (Linux: Documentation/networking/ip-sysctl.rst). For IPv6 there is nothing to tell.

use std::fs;

/// A setting for all interfaces and for this one; either of them counts when it is on.
const EITHER: [&str; 2] = ["route_localnet", "accept_local"];
/// The larger of both counts; strict reverse path filtering takes the host's other addresses for forged.
const LARGER: &str = "rp_filter";
const STRICT: u32 = 1;

/// The command that sets what is missing for interface `name`; none when all is well.
pub(super) fn remedy(name: &str) -> Option<String> {
    missing(
        &|interface, setting| {
            let path = format!("/proc/sys/net/ipv4/conf/{interface}/{setting}");
            fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
        },
        name,
    )
}

fn missing(read: &dyn Fn(&str, &str) -> u32, name: &str) -> Option<String> {
    let both = |setting| [read("all", setting), read(name, setting)];
    let mut words: Vec<String> = Vec::new();
    for setting in EITHER.into_iter().filter(|s| both(s) == [0, 0]) {
        words.push(format!("net.ipv4.conf.{name}.{setting}=1"));
    }
    if both(LARGER).into_iter().max() == Some(STRICT) {
        words.push(format!("net.ipv4.conf.{name}.{LARGER}=2"));
    }
    (!words.is_empty()).then(|| format!("sysctl -w {}", words.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_and_nothing_else() {
        let with = |on: &'static [(&str, &str, u32)]| {
            missing(
                &|interface, setting| {
                    on.iter().find(|(i, s, _)| (*i, *s) == (interface, setting)).map_or(0, |found| found.2)
                },
                "lo",
            )
        };
        let all = "sysctl -w net.ipv4.conf.lo.route_localnet=1 net.ipv4.conf.lo.accept_local=1";
        assert_eq!(with(&[]).as_deref(), Some(all));
        assert_eq!(with(&[("all", "route_localnet", 1), ("lo", "accept_local", 1)]), None);
        let strict: &[_] = &[("lo", "route_localnet", 1), ("lo", "accept_local", 1), ("all", "rp_filter", 1)];
        assert_eq!(with(strict).as_deref(), Some("sysctl -w net.ipv4.conf.lo.rp_filter=2"));
    }
}
