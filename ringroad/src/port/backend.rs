//! By which backend a port is opened, and why.

use std::time::{Duration, Instant};

use af_xdp::{Interface, Limits, Options, Port, SetupError, Step, XdpMode};
use ef_vi::EfVi;
use nic::Pool;

use crate::config::{Backend, Config};
use crate::error::StartError;
use crate::log;
use crate::netlink;

use super::numbers;
use super::plan::{Plan, Sockets};

/// How long what is in use is tried again, and how often: the kernel ends the sockets of a keeper that goes one by one,
/// and waits for its readers each time.
const ENDING: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(5);

/// Processes that drive adapters: what an adapter is told to lead to one process it cannot spread over several.
pub(super) const ADAPTERS_PROCESSES: Option<u8> = Some(1);
/// Drivers of adapters that ef_vi drives.
const ADAPTERS: [&str; 2] = ["sfc", "xilinx_efct"];

/// What was opened.
pub(super) struct Opened {
    pub(super) port: Port,
    /// Why it is by this backend.
    pub(super) why: String,
    /// The interfaces are adapters' that ef_vi drives: whoever drives the port opens these, too.
    pub(super) adapters: bool,
}

impl Opened {
    fn new(port: Port, why: impl Into<String>) -> Self {
        Self { port, why: why.into(), adapters: false }
    }
}

/// What is opened, and by what wishes.
pub(super) struct Opening<'a> {
    pub(super) config: &'a Config,
    pub(super) names: &'a [&'a str],
    pub(super) limits: &'a Limits,
    /// When those of AF_XDP are made: behind the driver the kernel numbers the queues as they come.
    pub(super) sockets: Sockets,
}

impl Opening<'_> {
    /// Opens the interfaces by the backend that is asked for; says why it is that one.
    ///
    /// # Errors
    /// One line: the step, the reason, and which backend works instead, if one does.
    pub(super) fn open(&self, pool: &mut Pool) -> Result<Opened, StartError> {
        let failed = |e: &SetupError| StartError::new(self.step(), e);
        match self.config.backend {
            Backend::EfVi => {
                let (port, beside, _) = self.either(pool)?;
                let works = || format!("--backend {} works here", beside.name());
                self.look_at_adapters(pool).map_err(|error| error.remedy(works()))?;
                Ok(Opened { adapters: true, ..Opened::new(port, "asked for") })
            }
            Backend::Auto => {
                let (port, by, why) = self.either(pool)?;
                if by == Backend::Packet {
                    log::tell(format_args!("{}: by the backend packet; {why}", self.step()));
                }
                Ok(self.with_adapters(pool, Opened::new(port, why)))
            }
            Backend::Tap if self.names.len() != 1 => {
                let reason = format!("the backend tap is one device, and {} are named", self.names.len());
                Err(StartError::new(self.step(), reason).remedy("--iface NAME"))
            }
            Backend::Tap if self.config.apart.is_empty() => {
                let reason = "behind a TAP device the program has an address of its own, and none is named";
                Err(StartError::new(self.step(), reason).remedy("--address 10.88.0.2/24"))
            }
            wanted => match self.attempt(pool, wanted) {
                Ok(port) => Ok(Opened::new(port, "asked for")),
                Err(error) if !may_differ(&error) => Err(failed(&error)),
                Err(error) => {
                    let others = [Backend::AfXdp, Backend::Packet].into_iter();
                    let mut others = others.filter(|other| *other != wanted);
                    Err(match others.find(|other| self.attempt(pool, *other).is_ok()) {
                        Some(other) => {
                            failed(&error).remedy(format!("--backend {} works here", other.name()))
                        }
                        None => failed(&error),
                    })
                }
            },
        }
    }

    /// Opens the interfaces by AF_XDP, or by the kernel's receive path where that cannot be had: by which, and why.
    fn either(&self, pool: &mut Pool) -> Result<(Port, Backend, String), StartError> {
        let error = match self.attempt(pool, Backend::AfXdp) {
            Ok(port) => return Ok((port, Backend::AfXdp, "auto: AF_XDP can be had".into())),
            Err(error) => error,
        };
        let port = may_differ(&error).then(|| self.attempt(pool, Backend::Packet).ok()).flatten();
        match port {
            Some(port) => Ok((port, Backend::Packet, format!("auto: AF_XDP cannot be had: {error}"))),
            None => Err(StartError::new(self.step(), error)),
        }
    }

    /// What was opened, and the adapters beside it where ef_vi drives them. Nobody has asked for that: where it does not, all
    /// stays as it is.
    fn with_adapters(&self, pool: &mut Pool, opened: Opened) -> Opened {
        if !self.is_for_adapters() {
            return opened;
        }
        match self.look_at_adapters(pool) {
            Ok(()) => {
                let why = "auto: ef_vi drives the adapter, for one process".into();
                Opened { adapters: true, why, ..opened }
            }
            Err(StartError { reason, .. }) => {
                log::tell(format_args!("{}: without ef_vi: {reason}", self.step()));
                Opened { why: format!("{}; without ef_vi: {reason}", opened.why), ..opened }
            }
        }
    }

    /// Looks whether ef_vi drives the interfaces' adapters: what they do not lead here comes by the port that was opened.
    /// The process that will drive them opens them again.
    fn look_at_adapters(&self, pool: &mut Pool) -> Result<(), StartError> {
        let options = adapter_options(self.config);
        self.adapters().try_for_each(|name| {
            let opened = match Interface::find(name) {
                Ok(interface) if interface.is_vlan() => Err(format!("{name}: a VLAN is no adapter")),
                // What is longer than a frame it drops, where others leave it to the kernel.
                Ok(interface) if interface.is_wide(pool.arena().frame_size()) => {
                    Err(format!("{name}: its MTU is {}, which no frame of an adapter takes", interface.mtu))
                }
                _ => EfVi::open(name, pool, &options).map(drop).map_err(|error| error.to_string()),
            };
            opened.map_err(|reason| StartError::new(self.step(), reason))
        })
    }

    /// The interfaces that may be adapters'.
    fn adapters(&self) -> impl Iterator<Item = &str> {
        let is_lo = |name: &str| Interface::find(name).is_ok_and(|interface| interface.is_loopback());
        self.names.iter().copied().filter(move |name| !is_lo(name))
    }

    /// Whether ef_vi may drive all of them, and the port is for one process, as it has to be then.
    fn is_for_adapters(&self) -> bool {
        let is_one = |name| Interface::find(name).is_ok_and(|i| ADAPTERS.contains(&i.driver.as_str()));
        ef_vi::AVAILABLE
            && self.config.processes == ADAPTERS_PROCESSES
            && self.adapters().next().is_some()
            && self.adapters().all(is_one)
    }

    fn step(&self) -> String {
        format!("opening {}", self.names.join(", "))
    }

    /// Opens by one backend. A process that ends, a keeper that was asked to go, holds the interfaces for a moment still.
    fn attempt(&self, pool: &mut Pool, backend: Backend) -> Result<Port, SetupError> {
        if backend == Backend::Tap {
            return again(|| self.behind_tap(pool));
        }
        let behind = backend == Backend::Packet;
        let for_adapters = self.config.backend == Backend::EfVi;
        let processes = if for_adapters { ADAPTERS_PROCESSES } else { self.config.processes };
        let plan = if behind {
            Plan::new(self.names.len(), self.names.len() as u32, processes, Sockets::AtOnce)
        } else {
            Plan::on(self.names, processes, self.sockets)?
        };
        let xdp = behind.then_some(XdpMode::Tc);
        let options = Options { xdp, offload: self.config.offload, ..plan.options() };
        again(|| Port::open_within(pool, self.names, &options, self.limits))
    }

    /// Opens the TAP device that is named; one that is not there is made.
    fn behind_tap(&self, pool: &mut Pool) -> Result<Port, SetupError> {
        let (name, apart) = (self.names[0], &self.config.apart);
        Port::open_tap(pool, name, |is_new| match is_new {
            true => netlink::make_near_side(name, apart),
            false => netlink::look_at_near_side(name, apart),
        })
    }
}

/// Tries what is in use again for a while.
fn again(mut open: impl FnMut() -> Result<Port, SetupError>) -> Result<Port, SetupError> {
    let until = Instant::now() + ENDING;
    loop {
        match open() {
            Err(e) if e.source.raw_os_error() == Some(libc::EBUSY) && Instant::now() < until => {
                std::thread::sleep(AGAIN);
            }
            result => return result,
        }
    }
}

/// How adapters are opened, here and by whoever drives them.
pub(crate) fn adapter_options(config: &Config) -> ef_vi::Options {
    ef_vi::Options {
        library: config.ef_vi_library.clone(),
        lowest_fd: Some(numbers::lowest()),
        ..ef_vi::Options::default()
    }
}

/// Whether another backend may have what this one has not: what is missing is neither the interface nor privilege, and
/// no other port has it.
fn may_differ(error: &SetupError) -> bool {
    if error.is_taken() {
        return false;
    }
    match (error.step, error.source.raw_os_error()) {
        (_, Some(libc::ENODEV | libc::ENETDOWN | libc::EPERM)) => false,
        // It is there and no TAP.
        (Step::Join, errno) => errno == Some(libc::EINVAL),
        (Step::Interface, errno) => errno == Some(libc::EOPNOTSUPP),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_missing_interface_nor_missing_privilege_is_mended_by_another_backend() {
        let differs = |step, errno| {
            let source = std::io::Error::from_raw_os_error(errno);
            may_differ(&SetupError { step, interface: None, source, advice: String::new() })
        };
        assert!(differs(Step::Socket, libc::EAFNOSUPPORT) && differs(Step::Attach, libc::EBUSY));
        assert!(differs(Step::Interface, libc::EOPNOTSUPP), "too many queues");
        assert!(!differs(Step::Interface, libc::ENODEV) && !differs(Step::Load, libc::EPERM));
        assert!(differs(Step::Join, libc::EINVAL) && !differs(Step::Join, libc::EBUSY));
        assert!(!differs(Step::Bind, libc::ENETDOWN) && !differs(Step::Interface, libc::EIO));
    }
}
