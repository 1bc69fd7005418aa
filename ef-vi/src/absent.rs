//! In the driver's place where there was nothing to build it with.

use std::os::fd::RawFd;

use nic::{Burst, Caps, Doorbell, Nic, Pool, TxPkt};

use crate::{Error, Filter, Options};

/// An adapter, which cannot be opened: this was built without the headers of ef_vi.
#[derive(Debug)]
pub enum EfVi {}

impl EfVi {
    /// Says why not.
    ///
    /// # Errors
    /// Always.
    pub fn open(interface: &str, _pool: &mut Pool, _options: &Options) -> Result<Self, Error> {
        Err(Error::absent(interface))
    }

    /// The link address.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        match *self {}
    }

    /// Whether it has stopped for good: nothing comes any more but what it had told of, and what is to be sent is dropped.
    #[must_use]
    pub fn is_halted(&self) -> bool {
        match *self {}
    }

    /// Leads what matches here.
    ///
    /// # Errors
    /// None: there is no such thing.
    pub fn add_filter(&mut self, _filter: Filter) -> Result<(), Error> {
        match *self {}
    }

    /// Leaves it to the kernel again.
    ///
    /// # Errors
    /// None: there is no such thing.
    pub fn remove_filter(&mut self, _filter: Filter) -> Result<(), Error> {
        match *self {}
    }

    /// Leaves everything to the kernel again.
    pub fn remove_filters(&mut self) {
        match *self {}
    }
}

impl Nic for EfVi {
    fn caps(&self) -> Caps {
        match *self {}
    }

    fn rx(&mut self, _pool: &mut Pool, _burst: &mut Burst, _max: usize) -> usize {
        match *self {}
    }

    fn tx(&mut self, _pool: &mut Pool, _frame: TxPkt) -> Result<(), TxPkt> {
        match *self {}
    }

    fn kick(&mut self, _pool: &mut Pool) -> Doorbell {
        match *self {}
    }

    fn reap(&mut self, _pool: &mut Pool) {
        match *self {}
    }

    fn wait_fds(&self) -> &[RawFd] {
        match *self {}
    }

    fn rx_pending(&self) -> bool {
        match *self {}
    }
}
