//! Flows that were kept, read again.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use super::Flow;
use super::ipfix::{Decoder, message_len};
use super::store::files;

/// What was read.
#[derive(Debug)]
pub struct Read<'m> {
    /// The message.
    pub message: &'m [u8],
    /// The flows it tells of.
    pub flows: &'m mut Vec<Flow>,
    /// Records that were written before it and did not come.
    pub lost: u64,
}

/// Takes what was read.
pub type Taker<'t> = dyn FnMut(Read<'_>) -> io::Result<()> + 't;

/// Reads the messages of a stream; each goes to `take`. What ends in the midst of a message is
/// over there: its writer was killed, or is about to write the rest.
///
/// # Errors
/// As reading; `InvalidData` for what is no message, `take`'s own.
pub fn messages(mut from: impl io::Read, take: &mut Taker<'_>) -> io::Result<()> {
    let mut decoder = Decoder::default();
    let invalid = |wrong| io::Error::new(io::ErrorKind::InvalidData, wrong);
    let (mut message, mut flows) = (Vec::new(), Vec::new());
    loop {
        let mut head = [0; 4];
        if !fill(&mut from, &mut head)? {
            return Ok(());
        }
        message.clear();
        message.extend(head);
        message.resize(message_len(head).map_err(invalid)?, 0);
        if !fill(&mut from, &mut message[4..])? {
            return Ok(());
        }
        let before = decoder.lost();
        decoder.read(&message, &mut flows).map_err(invalid)?;
        take(Read { message: &message, flows: &mut flows, lost: decoder.lost() - before })?;
        flows.clear();
    }
}

/// Fills `into`; false when the stream ends before.
fn fill(from: &mut impl io::Read, into: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(into) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads what was kept in a file, or in all files of a directory, oldest first. Others may write to a directory, too: what
/// cannot be read of it does not keep the rest from being read, and goes to `wrong`, with the file named.
///
/// # Errors
/// As [`messages`], with the file named; of a directory, `take`'s own only.
pub fn kept(path: &Path, take: &mut Taker<'_>, wrong: &mut dyn FnMut(io::Error)) -> io::Result<()> {
    if !path.is_dir() {
        return read(path, take)?.map_err(|error| named(path, error));
    }
    for path in files(path)? {
        match read(&path, take)? {
            // It made room for others meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => wrong(named(&path, error)),
            Ok(()) => {}
        }
    }
    Ok(())
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Reads a file: what is wrong with it, or else `take`'s own error.
fn read(path: &Path, take: &mut Taker<'_>) -> io::Result<io::Result<()>> {
    let mut failed = None;
    let mut note = |read: Read<'_>| {
        take(read).map_err(|error| {
            failed = Some(error);
            io::ErrorKind::Other.into()
        })
    };
    let done = File::open(path).and_then(|file| messages(BufReader::new(file), &mut note));
    failed.map_or(Ok(done), Err)
}
