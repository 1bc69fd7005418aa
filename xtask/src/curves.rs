//! `cargo xtask bench --curves`: congestion controls, ours and the kernel's, on one emulated link; figures and
//! pictures go to `docs/congestion`.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lab::{IFACE, Lab, Namespace, Relay, Running, SERVER, Sample, Shape, Trouble, eventually, ringroad};

use crate::measure::median;
use crate::plot::{Curve, Plot};
use crate::root;

/// The link: bits a second, one way, and a round trip's worth of queue.
const RATE: u64 = 50_000_000;
const DELAY: Duration = Duration::from_millis(20);
const QUEUE: usize = 250_000;
/// Rounds of what is compared, and seconds of each; the first are for slow start.
const ROUNDS: usize = 3;
const SECONDS: u64 = 15;
const WARM: u64 = 5;
const SHARE_SECONDS: u64 = 40;
const SHARE_WARM: u64 = 15;
const PORT: u16 = 5001;
/// A send buffer that no window on this link outgrows.
const BUFFER: &str = "2000000";

/// Whose TCP sends, and under which control.
#[derive(Clone, Copy, PartialEq)]
struct Sender {
    road: bool,
    control: &'static str,
}

const OUR_CUBIC: Sender = Sender { road: true, control: "cubic" };
const OUR_BBR: Sender = Sender { road: true, control: "bbr" };
const THEIR_CUBIC: Sender = Sender { road: false, control: "cubic" };
const THEIR_BBR: Sender = Sender { road: false, control: "bbr" };

impl Sender {
    fn name(self) -> String {
        format!("{} {}", if self.road { "ringroad" } else { "kernel" }, self.control)
    }
}

/// What one flow did, by seconds since the run began.
#[derive(Default)]
struct Flow {
    cwnd: Vec<(f64, f64)>,
    /// Bytes that had arrived.
    got: Vec<(f64, f64)>,
}

impl Flow {
    /// Megabits a second from `from` seconds on.
    fn goodput(&self, from: u64) -> f64 {
        let mut after = self.got.iter().filter(|(at, _)| *at >= from as f64);
        let (Some(first), Some(last)) = (after.next(), self.got.last()) else { return 0.0 };
        (last.1 - first.1) * 8.0 / (last.0 - first.0).max(0.001) / 1e6
    }

    /// Megabits a second, second by second.
    fn rate(&self) -> Vec<(f64, f64)> {
        let mut rate = Vec::new();
        let mut last = (0.0, 0.0);
        for &(at, bytes) in &self.got {
            if at - last.0 >= 1.0 {
                rate.push((at, (bytes - last.1) * 8.0 / (at - last.0) / 1e6));
                last = (at, bytes);
            }
        }
        rate
    }
}

/// A run: its flows, and the queue in kilobytes.
struct Run {
    flows: Vec<Flow>,
    queue: Vec<(f64, f64)>,
}

/// Senders behind a bottleneck, and one who takes it all.
struct Link {
    senders: Vec<Namespace>,
    _server: Namespace,
    relay: Relay,
    receiver: Running,
    _lab: Lab,
}

impl Link {
    fn new(loss: u32) -> Self {
        let lab = Lab::new("curves");
        let trouble = Trouble {
            seed: 9,
            loss,
            delay: DELAY,
            shape: Some(Shape::new(RATE, QUEUE)),
            ..Trouble::default()
        };
        let (senders, server, relay) = lab.dumbbell(2, trouble);
        let receiver = server.spawn(&[&itself(), "pump", "receive", &PORT.to_string()]);
        eventually("somebody receives", 10, || server.listens(PORT));
        Self { senders, _server: server, relay, receiver, _lab: lab }
    }

    /// Lets them send, the second a second after the first.
    fn run(&self, senders: &[Sender], seconds: u64) -> Run {
        self.relay.take_queue();
        let (begin, wall) = (Instant::now(), wall());
        let mut running = Vec::new();
        for (n, sender) in senders.iter().enumerate() {
            if n > 0 {
                std::thread::park_timeout(Duration::from_secs(1));
            }
            running.push(self.start(&self.senders[n], *sender, seconds));
        }
        let said: Vec<String> = running
            .into_iter()
            .map(|mut program| {
                let code = program.ended(seconds + 30);
                let said = program.said();
                assert!(code == 0, "a sender ended with {code}:\n{said}");
                said
            })
            .collect();
        let taken = self.receiver.said();
        let flows = said.iter().enumerate().map(|(n, said)| {
            let info = said.lines().filter_map(Sample::parse);
            let seconds = |at: u64| at.saturating_sub(wall) as f64 / 1000.0;
            let cwnd = info.map(|s| (seconds(s.at), f64::from(s.cwnd))).collect();
            let peer = format!("10.77.0.{}", n + 2);
            let got = taken.lines().filter_map(|line| got(line, &peer)).filter(|(at, _)| *at >= wall);
            Flow { cwnd, got: got.map(|(at, bytes)| (seconds(at), bytes as f64)).collect() }
        });
        let queue = self.relay.take_queue().into_iter();
        let queue = queue.map(|(at, bytes)| ((at - begin).as_secs_f64(), bytes as f64 / 1000.0));
        Run { flows: flows.collect(), queue: queue.collect() }
    }

    fn start(&self, host: &Namespace, sender: Sender, seconds: u64) -> Running {
        let (this, to, time) = (itself(), format!("{SERVER}:{PORT}"), seconds.to_string());
        let mut words = vec![this.as_str(), "pump", "send", &to, &time, sender.control];
        if sender.road {
            words.push(BUFFER);
            words = ringroad(&[], &words);
        }
        host.spawn(&[&["nice", "-n", "-10"], &words[..]].concat())
    }
}

fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

fn itself() -> String {
    std::env::current_exe().map_or_else(|_| "xtask".to_owned(), |path| path.to_string_lossy().into_owned())
}

/// The time and the bytes of a line that a receiver printed of this peer.
fn got(line: &str, peer: &str) -> Option<(u64, u64)> {
    let mut words = line.strip_prefix("got ")?.split_whitespace();
    let at = words.next()?.parse().ok()?;
    (words.next()? == peer).then_some(())?;
    Some((at, words.next()?.parse().ok()?))
}

/// Jain's index of fairness.
fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|s| s * s).sum();
    if squares > 0.0 { sum * sum / (shares.len() as f64 * squares) } else { 0.0 }
}

/// Thins a curve out to what a picture can show.
fn thin(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let every = points.len().div_ceil(700).max(1);
    points.into_iter().step_by(every).collect()
}

/// Measures everything, prints the figures, writes the page and its pictures.
pub(crate) fn run() {
    println!("{IFACE}: 50 Mbit/s, 40 ms, a queue of 250 kB; both senders behind one relay");
    let mut page = Page::default();
    lossy(&mut page);
    let clean = Link::new(0);
    alone(&clean, &mut page);
    shared(&clean, &mut page);
    page.write();
}

/// Goodput where one in a hundred is lost, in turns.
fn lossy(page: &mut Page) {
    let link = Link::new(10_000);
    let sides = [OUR_CUBIC, THEIR_CUBIC, OUR_BBR, THEIR_BBR];
    let mut goodput = vec![Vec::new(); sides.len()];
    let mut curves = Vec::new();
    for round in 0..ROUNDS {
        for (side, goodput) in sides.iter().zip(&mut goodput) {
            let run = link.run(&[*side], SECONDS);
            goodput.push(run.flows[0].goodput(WARM));
            if round == 0 && side.control == "cubic" {
                curves.push(curve(*side, run.flows.into_iter().next().unwrap_or_default().cwnd));
            }
        }
    }
    let medians: Vec<f64> = goodput.into_iter().map(median).collect();
    page.line("One in a hundred lost", &format!("median of {ROUNDS} runs of {SECONDS} s, Mbit/s"));
    for (side, median) in sides.iter().zip(&medians) {
        page.row(&side.name(), &format!("{median:.2}"));
    }
    page.row("ringroad cubic / kernel cubic", &format!("{:.2}", medians[0] / medians[1].max(0.001)));
    page.row("ringroad bbr / kernel bbr", &format!("{:.2}", medians[2] / medians[3].max(0.001)));
    page.say(
        "RFC 9438 §4.3 has CUBIC's estimate of Reno grow by a whole segment a round trip once it is where the last\n\
         loss was; Linux goes on with 9/17 of one. In virtual time that alone makes ours 1.15 times as fast on this link\n\
         (3.61 and 3.14 Mbit/s, the mean of six seeds): what is left is within the noise. The RFC's rule is kept: it is a\n\
         SHOULD, and what makes CUBIC no slower than the Reno that it estimates. Linux's `bbr` is version 1, which does\n\
         not look at losses; version 3 is held to 2 % of a flight, and to what chance may add.",
    );
    page.picture("loss-cwnd", "The window where one in a hundred is lost", "segments", curves);
}

fn curve(sender: Sender, points: Vec<(f64, f64)>) -> Curve {
    Curve { name: sender.name(), points: thin(points) }
}

/// Each alone on a link that loses nothing: window and queue.
fn alone(link: &Link, page: &mut Page) {
    page.line("Alone, nothing lost but by the queue", "Mbit/s, and the mean queue in ms");
    for (file, pair) in [("cubic", [OUR_CUBIC, THEIR_CUBIC]), ("bbr", [OUR_BBR, THEIR_BBR])] {
        let (mut windows, mut queues) = (Vec::new(), Vec::new());
        for side in pair {
            let mut run = link.run(&[side], SECONDS * 2);
            let late = run.queue.iter().filter(|(at, _)| *at >= WARM as f64).map(|(_, kb)| *kb);
            let mean = late.clone().sum::<f64>() / late.count().max(1) as f64 * 8e6 / RATE as f64;
            page.row(&side.name(), &format!("{:.2}, {mean:.1} ms", run.flows[0].goodput(WARM)));
            windows.push(curve(side, std::mem::take(&mut run.flows[0].cwnd)));
            queues.push(curve(side, run.queue));
        }
        page.picture(&format!("{file}-cwnd"), "The window of one flow alone", "segments", windows);
        page.picture(&format!("{file}-queue"), "The queue under one flow alone", "kB", queues);
    }
}

/// Two at a time.
fn shared(link: &Link, page: &mut Page) {
    page.line(
        "Two flows on one bottleneck",
        "Jain's index; the median of several runs, and each one's Mbit/s in it",
    );
    let pairs = [
        ("share-ours", ROUNDS, [OUR_CUBIC, OUR_CUBIC]),
        ("share-kernel", ROUNDS, [OUR_CUBIC, THEIR_CUBIC]),
        ("share-kernels", ROUNDS, [THEIR_CUBIC, THEIR_CUBIC]),
        ("share-bbr", ROUNDS, [OUR_BBR, OUR_BBR]),
        ("share-bbr-cubic", 1, [OUR_BBR, OUR_CUBIC]),
    ];
    for (file, rounds, pair) in pairs {
        let shares = |run: &Run| -> Vec<f64> { run.flows.iter().map(|f| f.goodput(SHARE_WARM)).collect() };
        let mut runs: Vec<Run> = (0..rounds).map(|_| link.run(&pair, SHARE_SECONDS)).collect();
        runs.sort_by(|a, b| jain(&shares(a)).total_cmp(&jain(&shares(b))));
        let run = runs.swap_remove(rounds / 2);
        let shares = shares(&run);
        let names = format!("{}, {}", pair[0].name(), pair[1].name());
        page.row(&names, &format!("{:.3} ({:.2}, {:.2})", jain(&shares), shares[0], shares[1]));
        let rates = run.flows.iter().zip(pair).enumerate();
        let rates = rates.map(|(n, (flow, side))| Curve {
            name: format!("{}: {}", n + 1, side.name()),
            points: thin(flow.rate()),
        });
        page.picture(file, "Two flows, second by second", "Mbit/s", rates.collect());
    }
}

/// The page that is written.
#[derive(Default)]
struct Page {
    text: String,
    pictures: Vec<(String, String)>,
}

impl Page {
    fn line(&mut self, title: &str, unit: &str) {
        println!("\n{title} ({unit})");
        let _ = writeln!(self.text, "\n## {title}\n\n| | {unit} |\n|---|--:|");
    }

    fn row(&mut self, name: &str, value: &str) {
        println!("  {name:36} {value}");
        let _ = writeln!(self.text, "| {name} | {value} |");
    }

    fn say(&mut self, words: &str) {
        let _ = writeln!(self.text, "\n{words}");
    }

    fn picture(&mut self, file: &str, title: &str, y: &str, curves: Vec<Curve>) {
        let svg = Plot { title, x: "seconds", y, curves }.svg();
        self.pictures.push((format!("{file}.svg"), svg));
    }

    fn write(&self) {
        let folder = root().join("docs/congestion");
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mut page = String::from("# Congestion control on an emulated link\n\n");
        let _ = writeln!(
            page,
            "Written by `cargo xtask bench --curves` (as root), which draws the pictures anew. The link is a relay of the\n\
             laboratory: 50 Mbit/s and 20 ms each way, with a queue of 250 kB, a round trip's worth. All senders are behind\n\
             it; whoever receives is Linux {}. The kernel's flows are the same program's, without the road. Windows are what\n\
             TCP_INFO tells both ways.",
            kernel.split('.').take(2).collect::<Vec<_>>().join(".")
        );
        page.push_str(&self.text);
        page.push_str("\n## Pictures\n\n");
        for (file, _) in &self.pictures {
            let _ = writeln!(page, "![{}]({file})\n", file.trim_end_matches(".svg"));
        }
        let written = fs::create_dir_all(&folder)
            .and_then(|()| fs::write(folder.join("README.md"), page.trim_end().to_owned() + "\n"))
            .and_then(|()| {
                self.pictures.iter().try_for_each(|(file, svg)| fs::write(folder.join(file), svg))
            });
        match written {
            Ok(()) => println!("\nwritten to {}", folder.display()),
            Err(error) => println!("\n{}: {error}", folder.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goodput_is_counted_from_the_warm_part_on() {
        let flow = Flow { got: vec![(0.0, 0.0), (5.0, 5e6), (15.0, 25e6)], ..Flow::default() };
        assert_eq!(flow.goodput(5), 16.0);
        assert_eq!(Flow::default().goodput(5), 0.0);
        assert_eq!(flow.rate(), [(5.0, 8.0), (15.0, 16.0)]);
    }

    #[test]
    fn lines_are_read_as_they_are_printed() {
        assert_eq!(got("got 12 10.77.0.2 34", "10.77.0.2"), Some((12, 34)));
        assert_eq!(got("got 12 10.77.0.2 34", "10.77.0.3"), None);
        let sample = Sample { at: 1, cwnd: 2, rtt: 3, retransmits: 4 };
        assert_eq!(Sample::parse("info 1 2 3 4"), Some(sample));
    }

    #[test]
    fn equal_shares_are_fair() {
        assert_eq!(jain(&[2.0, 2.0]), 1.0);
        assert_eq!(jain(&[1.0, 0.0]), 0.5);
    }
}
