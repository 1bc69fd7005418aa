//! Messages as they are written and read, filters, and what is kept on disk.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use stack::journal::{FlowRecord, Traffic};
use stack::tcp::State;
use stack::time::Instant;
use stack::types::{Direction, FlowKey, Protocol, Road};
use tempfile::TempDir;

use super::ipfix::{Decoder, Encoder, MOST, Preamble, Source, Told};
use super::*;
use crate::pages::examples;

pub(crate) fn source() -> Source {
    Source { host: "web1".into(), pid: 4711, command: "nginx".into() }
}

fn record(local: &str, remote: &str) -> FlowRecord {
    let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
    FlowRecord {
        key: FlowKey { protocol: Protocol::Tcp, local, remote },
        direction: Direction::In,
        road: Road::UNKNOWN,
        carried: Traffic { bytes_in: 100, bytes_out: 70_000, packets_in: 5, packets_out: 50, retransmits: 2 },
        state: 1,
        srtt_us: 250,
        over: false,
        at: Instant::ZERO,
    }
}

/// The messages for some records, the preamble first.
fn written(records: &[(FlowRecord, &str, Verdict)]) -> Vec<Vec<u8>> {
    let (mut encoder, mut messages) = (Encoder::new(source().pid), Vec::new());
    for (record, rule, verdict) in records {
        let told = Told { record, verdict: *verdict, table: "10.77.0.1", rule, span: (1_000_000, 1_001_500) };
        encoder.put(&told, &mut |message, _| messages.push(message.to_vec()));
    }
    encoder.finish(&mut |message, _| messages.push(message.to_vec()));
    if let Some(first) = messages.first() {
        messages.insert(0, Preamble::new(&source()).before(first));
    }
    messages
}

fn read(messages: &[Vec<u8>]) -> (Vec<Flow>, Decoder) {
    let (mut decoder, mut flows) = (Decoder::default(), Vec::new());
    for message in messages {
        decoder.read(message, &mut flows).unwrap();
    }
    (flows, decoder)
}

#[test]
fn a_record_comes_back_as_it_was() {
    let messages = written(&[(record("10.77.0.1:80", "10.77.0.2:4000"), "web", Verdict::Monitored)]);
    let (flows, _) = read(&messages);
    let line = serde_json::to_string(&flows[0]).unwrap();
    assert_eq!(
        line,
        r#"{"time":1001.5,"host":"web1","pid":4711,"command":"nginx","direction":"in","protocol":"tcp","local":"10.77.0.1:80","remote":"10.77.0.2:4000","verdict":"monitored","table":"10.77.0.1","rule":"web","state":"ESTABLISHED","packets_in":5,"packets_out":50,"bytes_in":100,"bytes_out":70000,"retransmits":2,"srtt_us":250,"over":false}"#
    );
    // RFC 7011 §3.1: version, length, time, number, domain.
    assert_eq!(messages[1][..4], [0, 10, 0, messages[1].len() as u8]);
    assert_eq!(messages[1][4..16], [0, 0, 3, 233, 0, 0, 0, 0, 0, 0, 0x12, 0x67]);
}

fn end(v4: bool) -> BoxedStrategy<SocketAddr> {
    let address = if v4 {
        any::<[u8; 4]>().prop_map(IpAddr::from).boxed()
    } else {
        // Not IPv4 in IPv6's clothes, and of no link.
        any::<[u8; 16]>()
            .prop_map(|b| IpAddr::from([&[0x20], &b[1..]].concat().first_chunk::<16>().copied().unwrap_or(b)))
            .boxed()
    };
    (address, any::<u16>()).prop_map(SocketAddr::from).boxed()
}

prop_compose! {
    pub(crate) fn any_record()(v4 in any::<bool>())(
        (local, remote) in (end(v4), end(v4)),
        tcp in any::<bool>(), inward in any::<bool>(), over in any::<bool>(),
        (bytes_in, bytes_out) in any::<(u64, u64)>(),
        (packets_in, packets_out, retransmits, srtt_us) in any::<(u32, u32, u32, u32)>(),
        state in 0..State::ALL.len(),
    ) -> FlowRecord {
        let protocol = if tcp { Protocol::Tcp } else { Protocol::Udp };
        let direction = if inward { Direction::In } else { Direction::Out };
        let carried = Traffic { bytes_in, bytes_out, packets_in, packets_out, retransmits };
        let state = if tcp { State::ALL[state].number() } else { 0 };
        let road = Road::UNKNOWN;
        FlowRecord { key: FlowKey { protocol, local, remote }, direction, road, carried, state, srtt_us, over, at: Instant::ZERO }
    }
}

proptest! {
    #[test]
    fn whatever_is_written_is_read(
        records in prop::collection::vec((any_record(), ".{0,300}", 0usize..3), 1..60),
    ) {
        let records: Vec<(FlowRecord, &str, Verdict)> =
            records.iter().map(|(r, rule, v)| (*r, rule.as_str(), Verdict::ALL[*v])).collect();
        let messages = written(&records);
        prop_assert!(messages.iter().all(|message| message.len() <= MOST));
        let (flows, decoder) = read(&messages);
        prop_assert_eq!((flows.len(), decoder.lost()), (records.len(), 0));
        for (flow, (record, rule, verdict)) in flows.iter().zip(&records) {
            let carried = record.carried;
            prop_assert_eq!((flow.local, flow.remote), (record.key.local, record.key.remote));
            prop_assert_eq!((flow.protocol, flow.direction), (record.key.protocol, record.direction));
            prop_assert_eq!((flow.bytes_in, flow.bytes_out), (carried.bytes_in, carried.bytes_out));
            prop_assert_eq!(flow.packets_in, u64::from(carried.packets_in));
            prop_assert_eq!(flow.packets_out, u64::from(carried.packets_out));
            prop_assert_eq!((flow.over, flow.verdict), (record.over, *verdict));
            prop_assert_eq!(flow.srtt_us, u64::from(record.srtt_us));
            let shown: String =
                rule.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
            prop_assert!(shown.starts_with(&flow.rule) && (shown.len() < 200 || flow.rule.len() > 190));
        }
    }

    #[test]
    fn whatever_is_no_message_is_refused_or_harmless(
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut messages = written(&[
            (record("10.77.0.1:80", "10.77.0.2:4000"), "web", Verdict::Allowed),
            (record("[2001:db8::1]:80", "[2001:db8::2]:4000"), "web", Verdict::Denied),
        ]);
        for (place, byte) in places {
            let message = place.get(&[0, 1]);
            let at = place.index(messages[*message].len());
            messages[*message][at] = byte;
        }
        let (mut decoder, mut flows) = (Decoder::default(), Vec::new());
        for message in &messages {
            let _ = decoder.read(message, &mut flows);
            let _ = decoder.read(&message[..cut.index(message.len())], &mut flows);
        }
        prop_assert!(flows.len() < 100);
    }
}

#[test]
fn a_message_comes_with_the_number_of_its_records() {
    let record = record("10.77.0.1:80", "10.77.0.2:4000");
    let told = Told { record: &record, verdict: Verdict::Allowed, table: "", rule: "web", span: (0, 0) };
    let (mut decoder, mut flows, mut numbers) = (Decoder::default(), Vec::new(), Vec::new());
    decoder.read(&Preamble::new(&source()).before(&[]), &mut flows).unwrap();
    let mut take = |message: &[u8], records: u32| {
        decoder.read(message, &mut flows).unwrap();
        assert_eq!(std::mem::take(&mut flows).len(), records as usize);
        numbers.push(records);
    };
    let mut encoder = Encoder::new(source().pid);
    (0..100).for_each(|_| encoder.put(&told, &mut take));
    encoder.finish(&mut take);
    assert!(numbers.len() > 2 && numbers.iter().sum::<u32>() == 100, "{numbers:?}");
}

#[test]
fn records_that_did_not_come_are_counted() {
    let many = vec![(record("10.77.0.1:80", "10.77.0.2:4000"), "web", Verdict::Allowed); 100];
    let mut messages = written(&many);
    let (all, _) = read(&messages);
    let left_out = messages.remove(3);
    let (rest, decoder) = read(&messages);
    let (one, _) = read(&[messages[0].clone(), left_out]);
    assert_eq!((rest.len() + one.len(), decoder.lost()), (all.len(), one.len() as u64));
}

#[test]
fn filters_mean_what_they_say() {
    let mut udp = record("10.77.0.1:53", "10.77.0.9:4000");
    (udp.key.protocol, udp.state) = (Protocol::Udp, 0);
    let (flows, _) = read(&written(&[
        (record("10.77.0.1:80", "10.77.0.2:4000"), "web", Verdict::Allowed),
        (record("[2001:db8::1]:8080", "[2001:db8::2]:4000"), "other web", Verdict::Monitored),
        (udp, "", Verdict::Denied),
    ]));
    for (filter, wanted) in [
        ("", &[0, 1, 2][..]),
        ("port 80", &[0]),
        ("local_port = 80-8080", &[0, 1]),
        ("remote_port 4000 local_port 53", &[2]),
        ("local 10.77.0.0/24 and not protocol udp", &[0]),
        ("local 10.77.0.1 protocol UDP", &[2]),
        ("remote 2001:db8::/32 or verdict denied", &[1, 2]),
        ("verdict != allowed", &[1, 2]),
        ("not (port 80 or port 53)", &[1]),
        ("rule \"other web\"", &[1]),
        ("rule=web", &[0]),
        ("state established", &[0, 1]),
        ("pid 4711 command nginx direction in", &[0, 1, 2]),
        ("pid 1 or table 10.77.0.1 port 80", &[0]),
    ] {
        let parsed: Filter = filter.parse().unwrap_or_else(|wrong| panic!("{filter}: {wrong}"));
        let meant: Vec<usize> = (0..3).filter(|n| parsed.wants(&flows[*n])).collect();
        assert_eq!(meant, wanted, "{filter}");
    }
}

#[test]
fn the_page_shows_what_there_is() {
    let page = include_str!("../../../docs/flows.md");
    let filters = examples(page, "filter").concat();
    assert!(filters.lines().count() >= 8);
    for filter in filters.lines() {
        filter.parse::<Filter>().unwrap_or_else(|wrong| panic!("{filter}: {wrong}"));
    }
    let (flows, _) = read(&written(&[(record("10.77.0.1:80", "10.77.0.2:4000"), "web", Verdict::Allowed)]));
    let told = serde_json::to_value(&flows[0]).unwrap();
    let mut shown: serde_json::Value = serde_json::from_str(examples(page, "json")[0]).unwrap();
    shown["time"] = told["time"].clone();
    assert_eq!(shown, told);
    for field in told.as_object().unwrap().keys() {
        assert!(page.contains(&format!("`{field}`")) || page.contains(&format!("\"{field}\"")), "{field}");
    }
    for part in page.split("--filter '").skip(1) {
        let filter = part.split('\'').next().unwrap();
        filter.parse::<Filter>().unwrap_or_else(|wrong| panic!("{filter}: {wrong}"));
    }
}

#[test]
fn faults_of_filters_are_told_with_their_column() {
    for (filter, wrong) in [
        ("prot 80", "filter, column 1: \"prot\" is no field; did you mean port?"),
        ("port 80 and", "filter, column 12: a field is missing"),
        ("port", "filter, column 5: what port should be is missing"),
        ("port 80-", "filter, column 6: \"80-\" is neither a port nor a range of ports, as 8000-8099"),
        (
            "port 80 or remote 10.77.0",
            "filter, column 19: \"10.77.0\" is neither an address nor a network, as 10.77.0.0/24",
        ),
        ("(port 80", "filter, column 9: the closing parenthesis is missing"),
        ("port 80)", "filter, column 8: \")\" has no place here"),
        ("verdict refused", "filter, column 9: \"refused\" is none of allowed, monitored, denied"),
        ("rule \"web", "filter, column 6: the quotation mark is not closed"),
        ("pid nginx", "filter, column 5: a process has a number"),
    ] {
        assert_eq!(filter.parse::<Filter>().map_err(|w| w.to_string()), Err(wrong.to_owned()));
    }
    assert!("not ".repeat(100_000).parse::<Filter>().is_err());
    assert!("(".repeat(100_000).parse::<Filter>().is_err());
}

fn kept(dir: &std::path::Path) -> Vec<Flow> {
    let mut flows = Vec::new();
    let mut take = |read: read::Read<'_>| {
        flows.append(read.flows);
        Ok(())
    };
    read::kept(dir, &mut take, &mut |wrong| panic!("{wrong}")).unwrap();
    flows
}

/// A store in a directory of its own, as small as can be, and what writes numbered records for it.
struct Keeping {
    dir: TempDir,
    store: Store,
    encoder: Encoder,
    put: u32,
}

impl Keeping {
    const SIZE: u64 = 1 << 20;
    const PART: u64 = Self::SIZE / 64;

    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { directory: dir.path().to_owned(), size: Self::SIZE };
        let store = Store::new(place, FLOWS, Preamble::new(&source()));
        Self { dir, store, encoder: Encoder::new(source().pid), put: 0 }
    }

    fn append(&mut self, records: usize) {
        let mut batch = Vec::new();
        for _ in 0..records {
            let mut record = record("10.77.0.1:80", "10.77.0.2:4000");
            record.srtt_us = self.put;
            self.put += 1;
            let told =
                Told { record: &record, verdict: Verdict::Allowed, table: "", rule: "web", span: (0, 0) };
            self.encoder.put(&told, &mut |message, _| batch.extend(message));
        }
        self.encoder.finish(&mut |message, _| batch.extend(message));
        self.store.append(&batch);
    }

    /// One of a user whom nobody acts as.
    fn foist(&self, name: &str, len: u64) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::File::create_new(&path).unwrap().set_len(len).unwrap();
        std::os::unix::fs::chown(&path, Some(4_000_000), None).unwrap();
        path
    }

    /// A file of the process `pid`, begun `age` ago.
    fn plant(&self, pid: u32, age: Duration, len: u64) -> PathBuf {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - age;
        let path = self.dir.path().join(format!("flows-{:019}-{pid}.ipfix", since.as_nanos()));
        std::fs::File::create_new(&path).unwrap().set_len(len).unwrap();
        path
    }

    fn numbers(&self) -> Vec<u64> {
        kept(self.dir.path()).iter().map(|flow| flow.srtt_us).collect()
    }

    fn sizes(&self) -> Vec<u64> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        entries.map(|entry| entry.unwrap().metadata().unwrap().len()).collect()
    }
}

#[test]
fn what_is_kept_is_bounded_and_the_latest() {
    let mut keeping = Keeping::new();
    let mut most = 0;
    // Some batches are longer than a file may be.
    for records in [100, 100, 1000].into_iter().cycle().take(75) {
        keeping.append(records);
        let sizes = keeping.sizes();
        assert!(sizes.iter().all(|size| *size <= Keeping::PART), "{sizes:?}");
        most = most.max(sizes.iter().sum());
    }
    assert!(most <= Keeping::SIZE, "{most} bytes");
    let numbers = keeping.numbers();
    assert!(numbers.len() > 5000, "{} records", numbers.len());
    assert_eq!(*numbers.last().unwrap(), u64::from(keeping.put - 1));
    assert!(numbers.windows(2).all(|w| w[0] + 1 == w[1]), "in order, none left out");
}

#[test]
fn what_somebody_writes_to_stays_and_has_room_to_grow() {
    let mut keeping = Keeping::new();
    let (alive, hour) = (std::os::unix::process::parent_id(), Duration::from_secs(3600));
    let growing = keeping.plant(alive, hour / 2, 10);
    let over = keeping.plant(alive, hour / 2 + Duration::from_secs(1), 10);
    let dead = keeping.plant(u32::MAX, hour / 4, 10);
    while keeping.put < 40_000 {
        keeping.append(1000);
    }
    assert!(growing.exists() && !over.exists() && !dead.exists());
    let closed: u64 = keeping.sizes().iter().sum();
    assert!(closed <= 50 * Keeping::PART, "{closed} bytes");
    // There is room for none beside what another has taken.
    std::fs::File::options().write(true).open(&growing).unwrap().set_len(Keeping::SIZE).unwrap();
    let files = keeping.sizes().len();
    keeping.append(1000);
    assert!(keeping.sizes().len() <= files && keeping.sizes().iter().all(|size| *size > 0));
}

/// As root, who may give files away.
#[test]
fn files_that_others_foist_on_us_cost_nothing_of_ours() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut keeping = Keeping::new();
    keeping.append(1000);
    let before = keeping.numbers();
    let soon = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(86_400);
    let ahead = keeping.foist(&format!("flows-{:019}-1.ipfix", soon.as_nanos()), 10);
    let long = keeping.foist(&format!("flows-{:019}-{}.ipfix", 1, std::process::id()), Keeping::SIZE);
    // They say that each has a process that writes to it.
    let claims: Vec<PathBuf> = (1..=64).map(|pid| keeping.plant(pid, Duration::ZERO, 0)).collect();
    for path in &claims {
        std::os::unix::fs::chown(path, Some(4_000_000), None).unwrap();
    }
    keeping.append(1000);
    assert!(!ahead.exists() && !long.exists());
    assert!(keeping.numbers().starts_with(&before) && keeping.numbers().len() == 2000);
}

#[test]
fn a_file_that_was_removed_is_written_to_no_more() {
    let mut keeping = Keeping::new();
    keeping.append(1);
    for entry in std::fs::read_dir(keeping.dir.path()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    keeping.append(1);
    assert_eq!(keeping.numbers(), [1]);
}

#[test]
fn a_writer_that_was_killed_leaves_what_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let many = vec![(record("10.77.0.1:80", "10.77.0.2:4000"), "web", Verdict::Allowed); 50];
    let whole = written(&many).concat();
    let (all, path) = (50, dir.join("flows-1-1.ipfix"));
    for cut in [whole.len(), whole.len() - 1, whole.len() / 2, 300, 17, 3, 0] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let flows = kept(dir);
        assert!(flows.len() <= all && (cut < whole.len() || flows.len() == all), "{cut}: {}", flows.len());
        assert!(cut < 3000 || !flows.is_empty());
    }
    // What is no file is not read.
    std::os::unix::fs::symlink("/dev/zero", dir.join("flows-0-1.ipfix")).unwrap();
    std::fs::create_dir(dir.join("flows-0-2.ipfix")).unwrap();
    std::fs::write(&path, b"no IPFIX at all").unwrap();
    let error = read::kept(&path, &mut |_| Ok(()), &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("flows-1-1.ipfix: no IPFIX message"), "{error}");
    // In a directory it is told, and the others are read; but who takes may end it all.
    std::fs::write(dir.join("marked-1-1.ipfix"), &whole).unwrap();
    let (mut records, mut wrong) = (0, Vec::new());
    let mut count = |read: read::Read<'_>| {
        records += read.flows.len();
        Ok(())
    };
    read::kept(dir, &mut count, &mut |error| wrong.push(error.to_string())).unwrap();
    assert_eq!((records, wrong), (all, vec![error.to_string()]));
    let mut stop = |_: read::Read<'_>| Err(std::io::ErrorKind::BrokenPipe.into());
    let stopped = read::kept(dir, &mut stop, &mut |_| ()).unwrap_err();
    assert_eq!(stopped.kind(), std::io::ErrorKind::BrokenPipe);
}

#[test]
fn places_are_understood() {
    let place =
        |text: &str| text.parse::<Place>().map(|p| (p.directory.to_string_lossy().into_owned(), p.size));
    assert_eq!(place("/var/flows"), Ok(("/var/flows".into(), 256 << 20)));
    assert_eq!(place("/var/flows,4G"), Ok(("/var/flows".into(), 4 << 30)));
    for wrong in ["", ",1G", "/x,", "/x,12", "/x,0M", "/x,99999999999G"] {
        assert!(place(wrong).is_err(), "{wrong}");
    }
}
