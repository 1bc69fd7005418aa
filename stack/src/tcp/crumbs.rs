//! Little pieces of received data outside of frames, for when frames are scarce: thousands of sockets with a few
//! octets each, which nobody reads, would else pin a frame each. The cells are there from the beginning (nothing
//! is allocated for a packet) and take memory when they are first used.

use super::segs::NONE;

/// Octets of a cell.
pub(super) const SIZE: usize = 128;
/// Cells for each frame of the pool.
const A_FRAME: u32 = 4;

/// A cell: what of it is unread, or, free, the next that is free.
#[derive(Clone, Copy, Debug)]
struct Cell {
    begin: u8,
    end: u8,
    next: u32,
    bytes: [u8; SIZE],
}

/// All cells of a stack.
#[derive(Debug)]
pub(super) struct Crumbs {
    cells: Vec<Cell>,
    limit: usize,
    free: u32,
}

impl Crumbs {
    pub(super) fn new(frames: u32) -> Self {
        let limit = frames.saturating_mul(A_FRAME) as usize;
        // Memory that was never touched is not there yet.
        Self { cells: Vec::with_capacity(limit), limit, free: NONE }
    }

    /// Keeps `bytes`; where. None when they are too many, or there is no cell.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> Option<u32> {
        if bytes.len() > SIZE {
            return None;
        }
        let at = if self.free != NONE {
            let at = self.free;
            self.free = self.cells[at as usize].next;
            at
        } else if self.cells.len() < self.limit {
            self.cells.push(Cell { begin: 0, end: 0, next: NONE, bytes: [0; SIZE] });
            self.cells.len() as u32 - 1
        } else {
            return None;
        };
        let cell = &mut self.cells[at as usize];
        (cell.begin, cell.end) = (0, 0);
        self.append(at, bytes).then_some(at)
    }

    /// Adds `bytes` behind what cell `at` holds, if they fit.
    pub(super) fn append(&mut self, at: u32, bytes: &[u8]) -> bool {
        let cell = &mut self.cells[at as usize];
        let end = usize::from(cell.end);
        let Some(room) = cell.bytes.get_mut(end..end + bytes.len()) else { return false };
        room.copy_from_slice(bytes);
        cell.end += bytes.len() as u8;
        true
    }

    /// What is unread in cell `at`.
    pub(super) fn bytes(&self, at: u32) -> &[u8] {
        let cell = &self.cells[at as usize];
        &cell.bytes[usize::from(cell.begin)..usize::from(cell.end)]
    }

    /// `n` octets of cell `at` were read. True when that was all: the cell is free then.
    pub(super) fn read(&mut self, at: u32, n: usize) -> bool {
        let cell = &mut self.cells[at as usize];
        cell.begin += n as u8;
        let empty = cell.begin == cell.end;
        if empty {
            self.release(at);
        }
        empty
    }

    /// Frees cell `at`.
    pub(super) fn release(&mut self, at: u32) {
        self.cells[at as usize].next = self.free;
        self.free = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_takes_what_fits_and_is_used_again() {
        let mut crumbs = Crumbs::new(1);
        let a = crumbs.keep(b"abc").unwrap();
        assert!(crumbs.append(a, b"de"));
        assert!(!crumbs.append(a, &[0; SIZE]));
        assert!(!crumbs.read(a, 2));
        assert_eq!(crumbs.bytes(a), b"cde");
        assert_eq!(crumbs.keep(&[1; SIZE + 1]), None);
        let more = [(); 3].map(|()| crumbs.keep(&[1; SIZE]).unwrap());
        assert_eq!(crumbs.keep(b"x"), None);
        assert!(crumbs.read(a, 3));
        assert_eq!(crumbs.keep(b"x"), Some(a));
        assert_eq!(crumbs.bytes(a), b"x");
        assert!(more.iter().all(|at| crumbs.bytes(*at) == [1; SIZE]));
    }
}
