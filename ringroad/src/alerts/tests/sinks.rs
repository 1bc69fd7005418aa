//! Places for alerts that take them, and places that do not.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use super::*;

/// Puts so many alerts; comes back when all are written, or were tried to be.
fn write(sinks: &[Sink], syslog: &Path, count: usize) {
    let mut board = Board::new(Sinks::open_with(sinks, syslog));
    (0..count).for_each(|_| board.put(Alert { kind: "denied".into(), ..Alert::default() }));
    board.close_within(Duration::from_secs(60));
}

/// Each is in the file, or was counted by the next where the writer was behind.
fn are_all_in(file: &Path) {
    let text = std::fs::read_to_string(file).unwrap();
    let alerts: Vec<Alert> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = alerts.iter().map(|alert| 1 + alert.left_out).sum::<u64>();
    assert_eq!(Some(told), alerts.last().map(|alert| alert.number));
}

#[test]
fn the_system_s_log_gets_a_record_with_its_priority() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = UnixDatagram::bind(&path).unwrap();
    write(&[Sink::Syslog], &path, 1);
    let mut record = [0; 2048];
    let len = log.recv(&mut record).unwrap();
    let record = std::str::from_utf8(&record[..len]).unwrap();
    // RFC 5424 §6.2.1: authpriv, warning; the tag as syslog(3) has it.
    let head = format!("<84>ringroad[{}]: ", std::process::id());
    let alert: Alert = serde_json::from_str(record.strip_prefix(&head).unwrap()).unwrap();
    assert_eq!((alert.kind.as_str(), alert.number), ("denied", 1));
}

/// A disk without room, a socket that is full and a log that is not there: whoever else is to have them has them.
#[test]
fn a_place_that_takes_nothing_is_no_harm_to_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (file, full) = (dir.path().join("alerts"), dir.path().join("socket"));
    let stays = UnixDatagram::bind(&full).unwrap();
    let sinks = [Sink::File("/dev/full".into()), Sink::Socket(full), Sink::Syslog, Sink::File(file.clone())];
    write(&sinks, &dir.path().join("none"), 2000);
    are_all_in(&file);
    // It has what there was room for, and kept nobody waiting.
    assert!(stays.recv(&mut [0; 2048]).is_ok());
}

/// What a place did not take is counted in the next that it takes, and no place counts what another lost.
#[test]
fn what_a_place_does_not_take_is_told_when_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let (here, later) = (dir.path().join("here"), dir.path().join("later"));
    let file = later.join("alerts");
    let sinks = [Sink::File(here.clone()), Sink::File(file.clone())];
    let mut board = Board::new(Sinks::open_with(&sinks, &dir.path().join("none")));
    let lines = |path: &Path| std::fs::read_to_string(path).unwrap_or_default().lines().count();
    let mut put = |lines_here: usize| {
        board.put(Alert { kind: "denied".into(), ..Alert::default() });
        // One at a time, so that none is left out before it is tried.
        until(|| lines(&here) == lines_here);
    };
    (1..=5).for_each(&mut put);
    std::fs::create_dir(&later).unwrap();
    (6..=7).for_each(&mut put);
    board.close_within(Duration::from_secs(60));
    let left_out = |path: &Path| -> Vec<(u64, u64)> {
        let text = std::fs::read_to_string(path).unwrap();
        let alerts = text.lines().map(|line| serde_json::from_str::<Alert>(line).unwrap());
        alerts.map(|alert| (alert.number, alert.left_out)).collect()
    };
    are_all_in(&here);
    are_all_in(&file);
    let told = left_out(&file);
    assert_eq!(told[told.len() - 1], (7, 0));
    assert!(left_out(&here).iter().all(|(_, left_out)| *left_out == 0), "it has all");
}

/// Waits until something is so, for a minute.
fn until(is_so: impl Fn() -> bool) {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(std::time::Instant::now() < end, "it does not come about");
        std::thread::yield_now();
    }
}
