//! Why an interface could not be opened: the step, the system's error, and what to do.

use std::fmt;
use std::io;

/// What was being done when setting up failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Finding the interface and asking for its properties.
    Interface,
    /// Making an AF_XDP socket.
    Socket,
    /// Registering the frames as UMEM.
    Umem,
    /// Making or mapping the rings.
    Rings,
    /// Loading the steering program into the kernel.
    Load,
    /// Attaching the steering program to the interface.
    Attach,
    /// Making the device that hears for the stacks at tc ingress.
    Device,
    /// Opening the TAP device that a stack stands behind.
    Join,
    /// Making the packet socket that they send through.
    Packet,
    /// Binding a socket to a queue.
    Bind,
    /// Sending a frame to see whether the mode works.
    Probe,
    /// Entering a socket in the steering map.
    Steer,
    /// Taking over descriptors that were inherited.
    Inherit,
}

impl Step {
    fn words(self) -> &'static str {
        match self {
            Self::Interface => "looking at the interface",
            Self::Socket => "opening an AF_XDP socket",
            Self::Umem => "registering the UMEM",
            Self::Rings => "mapping the rings",
            Self::Load => "loading the steering program",
            Self::Attach => "attaching the steering program",
            Self::Device => "making a TAP device",
            Self::Join => "opening the TAP device",
            Self::Packet => "opening a packet socket",
            Self::Bind => "binding the AF_XDP socket",
            Self::Probe => "sending a first frame",
            Self::Steer => "entering the socket in the steering map",
            Self::Inherit => "taking over inherited descriptors",
        }
    }
}

/// Setting up failed. `Display` is one line: interface, step, error, advice.
#[derive(Debug)]
pub struct SetupError {
    /// What was being done.
    pub step: Step,
    /// The interface, when one was concerned.
    pub interface: Option<String>,
    /// The operating system's error.
    pub source: io::Error,
    /// What to do about it; empty when the error says it all.
    pub advice: String,
}

impl SetupError {
    /// An error with the advice that its step and its errno call for.
    pub(crate) fn new(step: Step, source: io::Error) -> Self {
        let advice = advice(step, source.raw_os_error().unwrap_or(0));
        Self { step, interface: None, source, advice }
    }

    /// An error of our own finding.
    pub(crate) fn found(step: Step, errno: i32, advice: impl Into<String>) -> Self {
        Self { step, interface: None, source: io::Error::from_raw_os_error(errno), advice: advice.into() }
    }

    /// Whether another port has the interface.
    pub fn is_taken(&self) -> bool {
        self.errno() == libc::EBUSY && self.advice.ends_with(ANOTHER)
    }

    pub(crate) fn on(mut self, interface: &str) -> Self {
        self.interface = Some(interface.to_owned());
        self
    }

    pub(crate) fn errno(&self) -> i32 {
        self.source.raw_os_error().unwrap_or(0)
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(interface) = &self.interface {
            write!(f, "{interface}: ")?;
        }
        write!(f, "{}: {}", self.step.words(), self.source)?;
        if !self.advice.is_empty() {
            write!(f, ": {}", self.advice)?;
        }
        Ok(())
    }
}

impl std::error::Error for SetupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// The advice where another port has the interface.
pub(crate) const ANOTHER: &str =
    "another ringroad runs on this interface: end it, or choose another interface";

/// Marks a step's failures.
pub(crate) trait At<T> {
    /// The result, its error that of step `step`.
    fn at(self, step: Step) -> Result<T, SetupError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, step: Step) -> Result<T, SetupError> {
        self.map_err(|e| SetupError::new(step, e))
    }
}

fn advice(step: Step, errno: i32) -> String {
    match (step, errno) {
        (Step::Socket, libc::EAFNOSUPPORT) => "this kernel has no AF_XDP (CONFIG_XDP_SOCKETS)".into(),
        (Step::Socket | Step::Packet, libc::EPERM) => missing(&[CAP_NET_RAW]),
        (Step::Device, libc::EPERM) => missing(&[CAP_NET_ADMIN]),
        (Step::Join, libc::EPERM) => {
            "it is another user's, or not there: ip tuntap add dev ... mode tap user ..., or run as root"
                .into()
        }
        (Step::Join, libc::EACCES) => "/dev/net/tun is not for this user".into(),
        (Step::Join, libc::EINVAL) => {
            "it is no TAP device with one queue: ip tuntap add dev ... mode tap user ...".into()
        }
        (Step::Device | Step::Join, libc::ENOENT | libc::ENODEV | libc::ENXIO) => {
            "there is no /dev/net/tun: modprobe tun, or give it to the container".into()
        }
        (Step::Device, libc::EBUSY) => ANOTHER.into(),
        (Step::Join, libc::EBUSY) => "it is for one program, and somebody has it: choose another name".into(),
        (Step::Load | Step::Attach | Step::Steer, libc::EPERM) => missing(&[CAP_NET_ADMIN, CAP_BPF]),
        (Step::Bind, libc::EPERM) => missing(&[CAP_NET_RAW, CAP_NET_ADMIN]),
        (Step::Bind | Step::Probe, libc::ENETDOWN) => "the interface is down: ip link set up".into(),
        (Step::Bind, libc::EBUSY) => "another AF_XDP socket is bound to this queue".into(),
        (Step::Interface, libc::ENODEV) => "there is no such interface in this network namespace".into(),
        (Step::Attach, libc::EOPNOTSUPP) => "this driver has neither native nor generic XDP".into(),
        (Step::Inherit | Step::Rings, libc::EBADF) => {
            "a descriptor that was handed over is closed by now".into()
        }
        _ => String::new(),
    }
}

const CAP_NET_ADMIN: (u32, &str) = (12, "CAP_NET_ADMIN");
const CAP_NET_RAW: (u32, &str) = (13, "CAP_NET_RAW");
const CAP_BPF: (u32, &str) = (39, "CAP_BPF");

/// Which of the needed capabilities this thread does not have.
fn missing(needed: &[(u32, &str)]) -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let held = status
        .lines()
        .find_map(|l| l.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    let names: Vec<&str> =
        needed.iter().filter(|(bit, _)| held >> bit & 1 == 0).map(|(_, name)| *name).collect();
    match names.as_slice() {
        [] => "the capabilities are there: a security module or a container forbids it".into(),
        names => format!("needs {} (run as root, or give the capability)", names.join(" and ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_with_step_and_advice() {
        let e = SetupError::new(Step::Bind, io::Error::from_raw_os_error(libc::ENETDOWN)).on("veth0");
        assert_eq!(
            e.to_string(),
            "veth0: binding the AF_XDP socket: Network is down (os error 100): \
             the interface is down: ip link set up"
        );
    }

    #[test]
    fn a_kernel_without_af_xdp_is_named() {
        let e = SetupError::new(Step::Socket, io::Error::from_raw_os_error(libc::EAFNOSUPPORT));
        assert!(e.to_string().ends_with("this kernel has no AF_XDP (CONFIG_XDP_SOCKETS)"));
    }

    #[test]
    fn what_another_port_has_is_told_from_what_somebody_else_has() {
        let busy = |advice: String| SetupError::found(Step::Attach, libc::EBUSY, advice);
        assert!(busy(ANOTHER.into()).is_taken() && busy(format!("id 7; {ANOTHER}")).on("lo").is_taken());
        assert!(!busy("ip link set dev ... xdp off".into()).is_taken());
        assert!(!SetupError::found(Step::Attach, libc::EPERM, ANOTHER).is_taken());
    }

    #[test]
    fn only_missing_capabilities_are_named() {
        let all_bits_but = missing(&[(63, "CAP_NOBODY_HAS")]);
        assert_eq!(all_bits_but, "needs CAP_NOBODY_HAS (run as root, or give the capability)");
    }
}
