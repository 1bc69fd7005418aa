//! Scans by nmap, and what is told of them.

use std::net::IpAddr;

use lab::{IFACE, Namespace, eventually_some, product};
use serde_json::Value;

/// States of a port that something answered for.
const ANSWERED: [&str; 3] = [" open ", " closed ", " unfiltered "];
/// Words by which nmap gives away that something answered, and by which it says that it gave up early. How far away a
/// host of the same link is, and who made its card, the neighbour's table tells.
const GIVEN_AWAY: [&str; 5] =
    ["closed tcp ports", "closed udp ports", "OS details:", "Uptime", "host timeout"];

/// A scan of ports: what nmap is told, the ports, and the kind of the alert; none where no port is tried.
#[derive(Clone, Copy, Debug)]
pub struct Scan {
    /// The way and the pace, as nmap's flags.
    pub flags: &'static [&'static str],
    /// The ports, or the protocols of `-sO`.
    pub ports: &'static str,
    /// The kind of its alert.
    pub kind: &'static str,
}

impl Scan {
    /// Scans `to` from an address of the client's.
    ///
    /// # Panics
    /// When nmap cannot, or finds anything.
    pub fn finds_nothing(&self, client: &Namespace, from: IpAddr, to: IpAddr) {
        let (from, to, len) = (from.to_string(), to.to_string(), if to.is_ipv6() { "128" } else { "32" });
        // Who connects by connect(2) comes from where the route says.
        let by_route = self.flags.contains(&"-sT");
        let route = |verb: &str| {
            let words = ["ip", "route", verb, &format!("{to}/{len}"), "dev", IFACE, "src", &from];
            client.must(&words);
        };
        let mut words = vec!["nmap", "-n", "-Pn", "--max-retries", "0", "--max-rtt-timeout", "100ms"];
        words.extend(self.flags.iter().chain(&["-p", self.ports, &to]));
        if len == "128" {
            words.push("-6");
        }
        if by_route {
            route("replace");
        } else {
            words.extend(["-S", &from, "-e", IFACE]);
        }
        let said = client.run_for(110, &words).must();
        if by_route {
            route("del");
        }
        let states = said.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
        let told = states.clone().any(|line| ANSWERED.iter().any(|state| line.contains(state)));
        let given_away = GIVEN_AWAY.iter().any(|word| said.contains(word));
        assert!(states.count() > 0 && !told && !given_away, "{:?}:\n{said}", self.flags);
    }

    /// That it was told of by one alert; when it was, after its first packet, is printed.
    ///
    /// # Panics
    /// When it was not, or by more.
    #[track_caller]
    pub fn is_told_once(&self, server: &Namespace, from: IpAddr) {
        let told = is_told_once(server, from, self.kind);
        let time = |name: &str| told[name].as_f64().unwrap_or_default();
        println!("{:?}: told {:.3} s after its first packet", self.flags, time("last") - time("first"));
    }
}

/// What was told lately on a host.
///
/// # Panics
/// When that cannot be asked.
#[must_use]
pub fn alerts(server: &Namespace) -> Vec<Value> {
    let text = server.must(&[product(), "alerts", "--json"]);
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// That one scan or sweep by `from` was told of, and is of this kind.
///
/// # Panics
/// When there was none or more.
#[track_caller]
pub fn is_told_once(server: &Namespace, from: IpAddr, kind: &str) -> Value {
    let told = eventually_some(&format!("an alert of {from}: {kind}"), 10, || {
        scans_of(&alerts(server), from).find(|a| a["kind"] == kind).cloned()
    });
    assert!(told["count"].as_u64() >= Some(8), "{told}");
    are_told_once(server, &[from]);
    told
}

/// That of each source one scan or sweep was told. Asked again at the end of a test: a second alert may come late.
///
/// # Panics
/// When there was none or more.
#[track_caller]
pub fn are_told_once(server: &Namespace, sources: &[IpAddr]) {
    let all = alerts(server);
    for from in sources {
        let told: Vec<&Value> = scans_of(&all, *from).collect();
        assert_eq!(told.len(), 1, "one scan, one alert: {told:?}");
    }
}

/// The alerts of scans and sweeps by `from`.
fn scans_of(alerts: &[Value], from: IpAddr) -> impl Iterator<Item = &Value> {
    let is_scan = |a: &Value| a["kind"].as_str().is_some_and(|k| k.ends_with("scan") || k.ends_with("sweep"));
    let from = from.to_string();
    alerts.iter().filter(move |a| a["remote"] == *from && is_scan(a))
}
