//! Recording in full: every packet of whom the policy marks (`shadow`) goes to files, from the moment the policy is in
//! force.
//!
//! A [tap](crate::capture) copies what marked addresses send and get into a ring, without waiting for anybody; a thread
//! takes it from there and writes pcapng. The ring and the files have a fixed size: what finds no room in the ring, because
//! the disk is slow, is counted, here and in the files.

mod tape;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use stack::policy::Marked;
use stack::types::IfaceId;

use crate::capture::{Capture, Reading, Wanted};
use crate::flows::{self, Place};
use crate::runtime::without_signals;
use tape::Tape;

/// The least that is a place, in bytes.
const LEAST: u64 = 2 * flows::LEAST;
/// The records of flows take so much of the place, the packets have the rest.
const FLOWS: u64 = 8;
/// How often the ring is emptied: while three gigabits a second pass, a third of it is full by then.
const EVERY: Duration = Duration::from_millis(30);
/// How long the end of a process waits for what is not written.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// The longest packet that is kept.
const SNAPLEN: usize = 1 << 18;

/// A recording under way: dropped, it ends when all is written.
#[derive(Debug)]
pub(crate) struct Recording {
    end: SyncSender<()>,
    /// Disconnected when all is written.
    done: Receiver<()>,
}

/// A place as it is configured.
///
/// # Errors
/// What is wrong with it: packets and records of flows have to fit in.
pub(crate) fn place_of(text: &str) -> Result<Place, String> {
    let place: Place = text.parse()?;
    if place.size < LEAST {
        return Err(format!("{text:?}: expected a size of 2M or more, as 512M or 4G"));
    }
    Ok(place)
}

/// The part of a place where packets are kept, and that of the records of flows.
pub(crate) fn split(place: &Place) -> (Place, Place) {
    let part = |size| Place { size, ..place.clone() };
    let flows = (place.size / FLOWS).max(flows::LEAST);
    (part(place.size.saturating_sub(flows)), part(flows))
}

impl Recording {
    /// Begins to record whom `marked` holds, into `place`. What comes back looks on at the stack; `roads`: its
    /// interfaces; packets that are not in the files are counted in `lost`.
    ///
    /// # Errors
    /// As making the ring, or a thread.
    pub(crate) fn begin(
        place: Place,
        marked: Arc<Marked>,
        roads: Vec<(IfaceId, String)>,
        lost: Arc<AtomicU64>,
    ) -> io::Result<(Self, Capture)> {
        let (ids, names): (Vec<IfaceId>, Vec<String>) = roads.into_iter().unzip();
        let interfaces = names.len();
        let (tap, ring) = Capture::new(Wanted::Of(marked), SNAPLEN, ids)?;
        let mut reading = Reading::new(ring, interfaces)?;
        let (end, ended) = sync_channel(1);
        let (finish, done) = sync_channel(0);
        let mut tape = Tape::new(place, names, lost);
        let write = move || {
            while matches!(ended.recv_timeout(EVERY), Err(RecvTimeoutError::Timeout)) {
                tape.take(&mut reading);
            }
            tape.take(&mut reading);
            tape.finish(&reading);
            drop(finish);
        };
        without_signals(|| thread::Builder::new().name("ringroad-shadow".into()).spawn(write))?;
        Ok((Self { end, done }, tap))
    }

    /// Waits until all is written, a moment at most. Nobody looks on any more.
    pub(crate) fn close(self) {
        let Self { end, done } = self;
        drop(end);
        let _ = done.recv_timeout(LAST_WORDS);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::Ordering;

    use stack::engine::{Arrival, Tap, Verdict, Way};
    use stack::policy::{Action, Policy, PolicySpec, Prefix};

    use super::*;

    const ROAD: IfaceId = IfaceId(7);

    /// A frame of Ethernet between two hosts, with its number at the end.
    fn frame(from: [u8; 4], to: [u8; 4], number: u8) -> Vec<u8> {
        let mut frame = vec![0; 26];
        frame[12..14].copy_from_slice(&[8, 0]);
        frame.extend([from, to].concat());
        frame.extend([0x5a; 60]);
        frame.push(number);
        frame
    }

    fn marked(host: [u8; 4]) -> Arc<Marked> {
        let shadow = vec![Prefix::host(Ipv4Addr::from(host).into())];
        let spec = PolicySpec { default: Action::Allow, tables: Vec::new(), shadow };
        Arc::clone(Policy::compile(&spec).unwrap().marked().unwrap())
    }

    fn see(tap: &mut Capture, frame: &[u8]) {
        tap.arrives(&Arrival { iface: ROAD, way: Way::In, frame, judged: false });
        tap.settles(&Verdict::default());
    }

    /// Waits until all is written, however long that takes.
    fn written(recording: Recording) {
        let Recording { end, done } = recording;
        drop(end);
        assert!(done.recv().is_err());
    }

    /// The bytes of every file in a directory whose name ends like this.
    fn files(directory: &std::path::Path, end: &str) -> Vec<Vec<u8>> {
        let paths = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        paths
            .filter(|path| path.to_string_lossy().ends_with(end))
            .map(|p| std::fs::read(p).unwrap())
            .collect()
    }

    #[test]
    fn what_marked_hosts_send_and_get_is_in_the_file_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place { directory: directory.path().to_owned(), size: 1 << 20 };
        let roads = vec![(ROAD, "road0".to_owned())];
        let (friend, other, here) = ([10, 0, 0, 9], [10, 0, 0, 8], [10, 0, 0, 1]);
        let (recording, mut tap) = Recording::begin(place, marked(friend), roads, Arc::default()).unwrap();
        see(&mut tap, &frame(friend, here, 1));
        tap.leaves(ROAD, &frame(here, friend, 2), &Verdict::default());
        see(&mut tap, &frame(other, here, 3));
        tap.leaves(ROAD, &frame(here, other, 4), &Verdict::default());
        see(&mut tap, &frame(friend, here, 5));
        see(&mut tap, b"short");
        written(recording);
        let all = files(directory.path(), ".pcapng");
        assert_eq!(all.len(), 1);
        let of = |number: u8| {
            let wanted = [&[0x5a; 60][..], &[number]].concat();
            all[0].windows(wanted.len()).filter(|bytes| **bytes == wanted).count()
        };
        assert_eq!([1, 2, 3, 4, 5].map(of), [1, 1, 0, 0, 1]);
    }

    #[test]
    fn files_have_an_end_and_the_oldest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place { directory: directory.path().to_owned(), size: 1 << 20 };
        let (host, here) = ([10, 0, 0, 9], [10, 0, 0, 1]);
        let roads = vec![(ROAD, "road0".to_owned())];
        let lost = Arc::new(AtomicU64::new(0));
        let (recording, mut tap) = Recording::begin(place, marked(host), roads, Arc::clone(&lost)).unwrap();
        // No file takes that.
        see(&mut tap, &[frame(host, here, 0), vec![0; 1 << 14]].concat());
        for _ in 0..4 {
            let mut long = frame(host, here, 0);
            long.resize(1500, 0);
            (0..1000).for_each(|_| see(&mut tap, &long));
        }
        written(recording);
        assert_eq!(lost.load(Ordering::Relaxed), 1);
        let all = files(directory.path(), ".pcapng");
        let kept: usize = all.iter().map(Vec::len).sum();
        assert!(all.iter().all(|file| file.len() <= 1 << 14));
        assert!(all.len() > 10 && kept > 700_000 && kept < 1 << 20, "{} files, {kept} bytes", all.len());
    }

    #[test]
    fn packets_and_records_of_flows_have_room_in_the_least_place() {
        let sizes = |text: &str| {
            let (packets, flows) = split(&place_of(text).unwrap());
            (packets.size >> 10, flows.size >> 10)
        };
        assert_eq!(
            (sizes("/x,2M"), sizes("/x,8M"), sizes("/x,64M")),
            ((1024, 1024), (7168, 1024), (57344, 8192))
        );
        assert!(place_of("/x,1M").is_err() && place_of("").is_err());
    }

    #[test]
    fn a_place_that_is_none_costs_only_the_recording() {
        let place = Place { directory: "/proc/nowhere".into(), size: 1 << 20 };
        let (lost, roads) = (Arc::new(AtomicU64::new(5)), vec![(ROAD, "road0".to_owned())]);
        let (recording, mut tap) =
            Recording::begin(place, marked([10, 0, 0, 9]), roads, Arc::clone(&lost)).unwrap();
        see(&mut tap, &frame([10, 0, 0, 9], [10, 0, 0, 1], 1));
        written(recording);
        assert_eq!(lost.load(Ordering::Relaxed), 6, "beside what others had lost");
    }
}
