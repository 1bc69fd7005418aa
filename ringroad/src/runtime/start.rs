//! From a configuration to a running stack.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, RawFd};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use af_xdp::{Limits, XdpMode, XskNic};
use ef_vi::EfVi;
use nic::{Nic, Pool};
use stack::config::{Config as StackConfig, Secrets};
use stack::control::ControlEvent;
use stack::engine::Stack;
use stack::types::IfaceId;

use super::adapter::{Adapter, Wishes};
use super::alerts::Alerts;
use super::bell::Bell;
use super::core::{Core, Link};
use super::guard::{Guards, Program, guard_from_the_start};
use super::handover::Handover;
use super::helper::{self, Duties};
use super::mates::{Exchange, Others};
use super::shadow::Shadow;
use super::steer::Programs;
use super::{CURRENT, Runtime, atexit, now, report, sysctl};
use crate::agent;
use crate::config::{Backend, Candidate, Config, Profile};
use crate::control::server::Server;
use crate::error::StartError;
use crate::keeper;
use crate::log;
use crate::metrics;
use crate::netlink::{self, Driven, Netlink, Reopening};
use crate::policy_file::{Bundle, Compiled, PolicyFile, image_of};
use crate::port::{Claimed, Driving, Port, Post, Roster, Sockets, adapter_options};

/// One start at a time.
static STARTING: Mutex<()> = Mutex::new(());

/// Opens the port in this process, while it still has the privilege, unless one is at hand already. The
/// stack itself starts later, maybe in a child.
///
/// # Errors
/// The step that failed.
pub fn prepare(config: &Config) -> Result<(), StartError> {
    if Port::inherited(config).is_some() {
        return Ok(());
    }
    open(config, Sockets::AtOnce)?.keep().map_err(|e| StartError::new("keeping the port", e))
}

/// Whether the policy that the configuration names, if it does, can be carried out as it is.
///
/// # Errors
/// Where it is wrong, and how.
pub fn check_policy(config: &Config) -> Result<(), StartError> {
    policy(config.policy.as_deref()).map(drop)
}

/// The descriptors of the port that this process opened or was given: the application must not close them.
pub fn port_descriptors(config: &Config) -> Vec<RawFd> {
    Port::held(config)
}

/// Opens the configured interfaces, with the policy's text in the port, and what the steering programs carry out of it.
pub(crate) fn open(config: &Config, sockets: Sockets) -> Result<Port, StartError> {
    if config.interfaces.is_empty() {
        return Err(no_interface());
    }
    if config.backend != Backend::Tap && !config.apart.is_empty() {
        let step = format!("opening {}", config.interfaces.join(", "));
        let reason = format!("by the backend {} the program has its host's addresses", config.backend.name());
        return Err(StartError::new(step, reason).remedy("--address is for --backend tap"));
    }
    let (file, policy) = policy(config.policy.as_deref())?;
    let port = match keeper::share(config, &policy)? {
        Some(port) => port,
        // Who was faster than we are has the interfaces, and by now a keeper that shares them.
        None => open_alone(config, &policy, sockets)
            .or_else(|error| keeper::share(config, &policy)?.ok_or(error))?,
    };
    guard_from_the_start(&port, file.as_ref().map(PolicyFile::compiled).as_ref(), &policy)
        .map_err(|e| StartError::new("guarding what the policy hides", e))?;
    if let Some(file) = &file
        && let Err(error) = offer(&port, file, &policy)
    {
        tracing::debug!(%error, "each process compiles the policy");
    }
    Ok(port)
}

/// Has the processes of the port judge by what was compiled here.
fn offer(port: &Port, file: &PolicyFile, text: &str) -> io::Result<()> {
    image_of(file)?.map_or(Ok(()), |image| port.offer(text, image.as_fd()))
}

/// The same of what nobody of ours has.
fn open_alone(config: &Config, policy: &str, sockets: Sockets) -> Result<Port, StartError> {
    // Who has the privilege needs no agent, nor who needs none.
    if config.backend != Backend::Tap && !rustix::process::geteuid().is_root() && config.agent.exists() {
        return agent::ask(&config.agent, config, policy);
    }
    // Another user's keeper shares nothing with us, but goes when root wants it to.
    keeper::make_way(&config.interfaces);
    let port = Port::open(config, policy, &Limits::default(), sockets)?;
    for line in netlink::hidden_vlans(&config.interfaces, port.is_behind()).unwrap_or_default() {
        log::tell(line);
    }
    Ok(port)
}

/// The policy file, known to be without faults; and with the files it names, as it is kept in the port.
fn policy(path: Option<&Path>) -> Result<(Option<PolicyFile>, String), StartError> {
    let step = "loading the policy";
    let load = |path: &Path| {
        let check = format!("`ringroad policy check {}` tells all", path.display());
        PolicyFile::load(path).map_err(|e| StartError::new(step, e.first_line()).remedy(check))
    };
    let file = path.map(load).transpose()?;
    let text = file.as_ref().map_or_else(|| Bundle::default().packed(), |file| file.bundle.packed());
    Ok((file, text.map_err(|e| StartError::new(step, e))?))
}

/// What the port says, understood; an empty policy lets everything pass.
pub(super) fn policy_of(text: &str) -> Result<Option<Compiled>, StartError> {
    let step = "loading the policy";
    let bundle: Bundle = if text.is_empty() {
        Bundle::default()
    } else {
        Bundle::unpacked(text).map_err(|e| StartError::new(step, e))?
    };
    if bundle.text.is_empty() {
        return Ok(None);
    }
    let file = PolicyFile::without_warnings(bundle).map_err(|f| StartError::new(step, f))?;
    Ok(Some(file.compiled()))
}

fn no_interface() -> StartError {
    let list = netlink::candidates().unwrap_or_default();
    let words: Vec<String> = list.iter().map(candidate).collect();
    let remedy = match words.as_slice() {
        [] => "no interface is up and has an IPv4 address".into(),
        words => format!("name one with --iface or RINGROAD_IFACE: {}", words.join("; ")),
    };
    StartError::new("choosing the interface", "none is named").remedy(remedy)
}

fn candidate(c: &Candidate) -> String {
    let addresses: Vec<String> = c.addresses.iter().map(IpAddr::to_string).collect();
    format!("{} ({})", c.name, addresses.join(", "))
}

impl Runtime {
    /// Nobody starts a runtime meanwhile: for a fork, whose child would find it half done.
    pub fn hold_start() -> MutexGuard<'static, ()> {
        STARTING.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the runtime of this process, or answers the one that runs already.
    ///
    /// # Errors
    /// The step that failed: no interface, no privilege; [`StartError::driven_by`] when another live
    /// process drives the port.
    pub fn start(config: &Config) -> Result<&'static Runtime, StartError> {
        Self::start_by(config, |set_up| set_up())
    }

    /// The same, with `elsewhere` to call what takes more of a stack than the caller may have. The helper thread is begun
    /// here, after that: if another thread did it and has ended, the helper has what libc reserved for that one to allocate
    /// from (64 MiB of address space), and nothing more is.
    ///
    /// # Errors
    /// As it says.
    pub fn start_by(
        config: &Config,
        elsewhere: impl FnOnce(SetUp<'_>) -> Result<Ready, StartError>,
    ) -> Result<&'static Runtime, StartError> {
        let _one = Self::hold_start();
        if let Some(running) = Self::current() {
            return Ok(running);
        }
        let set_up = || {
            prepare(config)?;
            let port = Port::inherited(config).unwrap_or_else(|| Err(no_interface()))?;
            Self::set_up(config, port.claim()?)
        };
        elsewhere(Box::new(set_up))?.launch(config)
    }

    /// Starts the runtime of the keeper, which has `claimed` its slot.
    pub(crate) fn keep(config: &Config, claimed: Claimed) -> Result<&'static Runtime, StartError> {
        let _one = Self::hold_start();
        Self::set_up(config, claimed)?.launch(config)
    }

    fn set_up(config: &Config, claimed: Claimed) -> Result<Ready, StartError> {
        let Driving { mut pool, roads, why, crossing } = claimed.drive()?;
        let (mut interfaces, mut links) = (Vec::new(), Vec::new());
        let (mut steer, mut programs) = (Programs::new(claimed.slot()), Vec::new());
        for mut road in roads {
            // Whoever opened the port may have wished for more than this program does.
            if !config.offload.is_wanted_on(road.nic.interface()) {
                road.nic.forgo_offload();
            }
            let iface = IfaceId(road.nic.interface().index);
            if let Some(steering) = road.steering.map(Arc::new) {
                let name = road.nic.interface().name.clone();
                programs.push(Program { iface, name, steering: Arc::clone(&steering) });
                steer.add(iface, steering, road.nic.backlog());
            }
            // The kernel takes tags off all that its receive path hands to anybody.
            let sees_tags = matches!(road.nic.xdp_mode(), XdpMode::Native | XdpMode::Generic);
            let adapter =
                if claimed.has_adapters() { adapter_of(&road.nic, &mut pool, config) } else { None };
            interfaces.extend(report::interfaces(&road.nic, adapter.is_some(), &why));
            let nic: Box<dyn Nic> = match adapter {
                Some(adapter) => {
                    let wishes = Arc::<Wishes>::default();
                    steer.add_adapter(Arc::clone(&wishes));
                    Box::new(Adapter::new(adapter, road.nic, wishes))
                }
                None => Box::new(road.nic),
            };
            links.push(Link { iface, sees_tags, nic });
        }
        let stack = Stack::new(stack_config(config, !programs.is_empty()), pool, secrets(claimed.isn_key())?);
        let mut core = Core::new(stack, links, Box::new(steer), hold(config.profile));
        if claimed.is_shared() {
            let bells = claimed.bells().map_err(|e| StartError::new("taking over the port", e))?;
            core.mates = bells.map(|bells| Exchange::new(crossing, bells));
            let steerings = programs.iter().map(|program| Arc::clone(&program.steering)).collect();
            core.stack.set_mates(Box::new(Others::new(claimed.slot(), steerings)));
        }
        let runtime = Runtime {
            spin_always: config.spin.is_some() || config.profile == Profile::Latency,
            spins: config.spin_calls,
            // Whatever is left with the keeper had its time.
            linger: if claimed.keeps() { Duration::ZERO } else { config.linger },
            interfaces,
            claimed: Mutex::new(Some(claimed)),
            guards: Mutex::new(Guards::new(programs)),
            shadow: Mutex::new(Shadow::new(config.shadow.as_ref())),
            ..Runtime::over(core, config.spin())
        };
        runtime.made_ready(config)
    }

    /// The policy of the port, and what it was compiled to, where somebody has.
    fn policy_in_force(&self) -> io::Result<(String, Option<File>)> {
        let claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.as_ref().map_or_else(|| Ok(Default::default()), Claimed::policy_in_force)
    }

    /// Takes over the policy of the port.
    fn take_policy(&self) -> Result<(), StartError> {
        let failed = |e: io::Error| StartError::new("loading the policy", e);
        let (text, image) = self.policy_in_force().map_err(failed)?;
        let file = match image.as_ref().and_then(Compiled::from_image) {
            Some(compiled) => Some(compiled),
            None => policy_of(&text)?,
        };
        if let Some(file) = &file {
            self.lock_quietly().stack().set_policy(Arc::clone(&file.policy));
            self.follow_marks();
        }
        // Also without one: the programs may carry out that of a program that had the port before.
        self.guard(file.as_ref(), &text).map_err(failed)
    }

    /// The other processes of the port, where there may be some.
    fn roster(&self, config: &Config) -> Option<Roster> {
        let claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        let claimed = claimed.as_ref().filter(|claimed| claimed.is_shared())?;
        let port = Port::inherited(config)?.ok()?;
        Roster::new(port, claimed)
            .inspect_err(|error| tracing::warn!(%error, "nobody will notice when another process dies"))
            .ok()
    }

    /// Where letters of the other processes come, where there may be some.
    fn post(&self, config: &Config) -> Option<Post> {
        let claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        let claimed = claimed.as_ref().filter(|claimed| claimed.is_shared())?;
        let port = Port::inherited(config)?.ok()?;
        Post::new(port, claimed)
            .inspect_err(|error| tracing::warn!(%error, "nothing will be handed over to other processes"))
            .ok()
    }

    /// Which interfaces can be opened again when they are back, and how to see that they were.
    fn reopening(&self, config: &Config) -> Reopening {
        let Some(Ok(port)) = Port::inherited(config) else { return Reopening::default() };
        let again = port.can_be_opened_again();
        let guards = self.guards.lock().unwrap_or_else(PoisonError::into_inner);
        let named = guards.interfaces().filter(|(_, name)| again.iter().any(|known| known == name));
        let names: Vec<_> = named.map(|(iface, name)| (iface, name.to_owned())).collect();
        if names.is_empty() {
            return Reopening::default();
        }
        Reopening { names, open_on: Some(Box::new(move |name| port.opened_on(name))) }
    }

    /// Takes part in what the gates of the port do together: they tell of what they see, and keep limits.
    fn join_gates(&self, config: &Config) -> Result<(), StartError> {
        let post = self.post(config);
        let claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(claimed) = claimed.as_ref() else { return Ok(()) };
        let commons = claimed.commons().map_err(|e| StartError::new("taking over the port", e))?;
        let (key, words) = commons.limits();
        self.lock_quietly().stack().share_limits(key, words);
        let alerts = Alerts::new(&config.alerts, commons.alerts(), claimed.me(), post);
        *self.alerts.lock().unwrap_or_else(PoisonError::into_inner) = Some(alerts);
        Ok(())
    }

    /// Tells the stack of the host.
    fn made_ready(self, config: &Config) -> Result<Ready, StartError> {
        let mut events = Vec::new();
        let mut turn = self.lock_quietly();
        let core = turn.core();
        core.handover = Handover::with(self.post(config));
        core.keeps = core.handover.keeps();
        let driven = core.links.iter().map(driven).collect();
        let netlink = Netlink::open(driven, self.reopening(config), &config.apart, &mut events)
            .map_err(|e| StartError::new("reading the kernel's tables", e))?;
        self.follow_host(&events);
        tell(core, events);
        let bell = Bell::new().map_err(|e| StartError::new("making an eventfd", e))?;
        core.helper = Some(bell.clone());
        drop(turn);
        let server = Server::open(config.control_dir.as_deref())
            .inspect_err(|error| tracing::warn!(%error, "no control socket: `ringroad stat` shows nothing"))
            .ok();
        let path = server.as_ref().map(|s| s.path().to_path_buf());
        *self.control_socket.lock().unwrap_or_else(PoisonError::into_inner) = path;
        self.join_gates(config)?;
        // Whoever puts another policy in force from here on finds this process.
        self.take_policy()?;
        if let Some(place) = &config.flows {
            self.keep_flows(place);
        }
        let roster = self.roster(config);
        Ok(Ready { runtime: Box::new(self), bell, duties: Duties { netlink, server, roster } })
    }
}

/// Makes everything but the helper thread.
pub type SetUp<'a> = Box<dyn FnOnce() -> Result<Ready, StartError> + Send + 'a>;

/// A runtime without its helper.
pub struct Ready {
    runtime: Box<Runtime>,
    bell: Bell,
    duties: Duties,
}

impl Ready {
    /// Starts the helper.
    fn launch(self, config: &Config) -> Result<&'static Runtime, StartError> {
        let runtime: &'static Runtime = Box::leak(self.runtime);
        helper::spawn(runtime, self.bell, self.duties)
            .map_err(|e| StartError::new("starting the helper thread", e))?;
        if let Some(endpoint) = &config.metrics {
            metrics::start(endpoint.clone());
        }
        atexit::register();
        CURRENT.store(std::ptr::from_ref(runtime).cast_mut(), Ordering::Release);
        Ok(runtime)
    }
}

fn tell(core: &mut Core, events: Vec<ControlEvent>) {
    let now = now();
    for event in events {
        core.control(now, event);
    }
    core.drain();
}

fn driven(link: &Link) -> Driven {
    /// The link header of Ethernet.
    const ETHERNET: usize = 14;
    let caps = link.nic.caps();
    let max_packet = caps.max_frame - ETHERNET;
    Driven {
        iface: link.iface,
        tx_checksum: caps.tx_checksum,
        max_packet,
        sees_tags: link.sees_tags,
        vlan: None,
    }
}

/// The adapter of an interface, opened for this process; without it the interface's own sockets do.
fn adapter_of(beside: &XskNic, pool: &mut Pool, config: &Config) -> Option<EfVi> {
    let interface = beside.interface();
    if interface.is_loopback() {
        return None;
    }
    EfVi::open(&interface.name, pool, &adapter_options(config))
        .inspect_err(|error| log::tell(format_args!("{error}; by the interface's own sockets")))
        .ok()
}

/// How the stack is to be: as the host has it, and as the user says.
fn stack_config(config: &Config, steered: bool) -> StackConfig {
    // Also alone: what only its port brings here, the steering program asks the kernel's table for. Without one there is
    // nobody else whose it could be.
    let mut stack = StackConfig { steer_each: steered, ..StackConfig::default() };
    sysctl::follow(&mut stack);
    stack.tcp.congestion = config.congestion;
    stack.tcp.ecn = config.ecn.unwrap_or(stack.tcp.ecn);
    stack
}

/// How long frames may wait for company before the doorbell is rung, when no wait rings it.
fn hold(profile: Profile) -> Duration {
    match profile {
        Profile::Latency => Duration::ZERO,
        Profile::Balanced => Duration::from_micros(150),
        Profile::Throughput => Duration::from_micros(500),
    }
}

/// A fresh key for the tables, the host's for sequence numbers.
fn secrets(isn_key: [u8; 16]) -> Result<Secrets, StartError> {
    let mut bytes = [0; 32];
    rustix::rand::getrandom(&mut bytes[..16], rustix::rand::GetRandomFlags::empty())
        .map_err(|e| StartError::new("reading random bytes", e))?;
    bytes[16..].copy_from_slice(&isn_key);
    Ok(Secrets(bytes))
}
