//! What the crate is without lwIP's sources: it can be named, not made.

use std::convert::Infallible;
use std::net::Ipv4Addr;

use crate::{Absent, Id, Site, Status};

/// A frame on its way in.
#[derive(Debug)]
pub struct Frame(Infallible);

/// lwIP.
#[derive(Debug)]
pub struct Lwip(Infallible);

#[expect(missing_docs, reason = "as in `real`")]
impl Lwip {
    /// # Errors
    /// Always.
    pub fn open(_: Site) -> Result<Self, Absent> {
        Err(Absent)
    }

    pub fn listen(&mut self, _: u16) {
        match self.0 {}
    }

    pub fn accept(&mut self) -> Option<Id> {
        match self.0 {}
    }

    pub fn connect(&mut self, _: Ipv4Addr, _: u16, _: u16) -> Id {
        match self.0 {}
    }

    pub fn status(&self, _: Id) -> Status {
        match self.0 {}
    }

    pub fn send(&mut self, _: Id, _: &[u8]) -> usize {
        match self.0 {}
    }

    pub fn recv(&mut self, _: Id, _: &mut [u8]) -> usize {
        match self.0 {}
    }

    pub fn finish(&mut self, _: Id) {
        match self.0 {}
    }

    pub fn forget(&mut self, _: Id) {
        match self.0 {}
    }

    pub fn frame(&mut self, _: &[u8]) -> Option<Frame> {
        match self.0 {}
    }

    pub fn input(&mut self, frame: Frame) {
        match frame.0 {}
    }

    pub fn output(&mut self, _: &mut [u8]) -> usize {
        match self.0 {}
    }

    pub fn waiting(&self) -> usize {
        match self.0 {}
    }

    pub fn time(&mut self, _: u32) {
        match self.0 {}
    }

    pub fn connection_size(&self) -> usize {
        match self.0 {}
    }
}
