//! The laboratory: it owns the hosts, the cables between them and a folder for their files.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::namespace::{self, Namespace};
use crate::nics::Nics;
use crate::relay::{Relay, Trouble};
use crate::sys;

/// The server's address in [`Lab::pair`].
pub const SERVER: &str = "10.77.0.1";
/// The client's address in [`Lab::pair`].
pub const CLIENT: &str = "10.77.0.2";
/// The server's address of IPv6, in [`Lab::dual_pair`].
pub const SERVER6: &str = "fd00:77::1";
/// The client's.
pub const CLIENT6: &str = "fd00:77::2";
/// The name of the interface on either side of a cable.
pub const IFACE: &str = "road0";

const PREFIX: &str = "rrlab";

static LABS: AtomicU32 = AtomicU32::new(0);

/// Hosts and cables that go when it is dropped.
#[derive(Debug)]
pub struct Lab {
    name: String,
    folder: PathBuf,
    hosts: RefCell<Vec<String>>,
    nics: RefCell<Option<Nics>>,
}

impl Lab {
    /// An empty laboratory; `what` becomes part of its names.
    ///
    /// # Panics
    /// When the process is not root, which network namespaces need.
    #[must_use]
    pub fn new(what: &str) -> Self {
        assert!(sys::is_root(), "the laboratory needs root: network namespaces and AF_XDP");
        sweep();
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}-{}-{number}-{what}", std::process::id());
        let folder = std::env::temp_dir().join(&name);
        fs::create_dir_all(&folder).expect("a folder for the laboratory's files");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))
            .expect("a folder that servers can read");
        Self { name, folder, hosts: RefCell::default(), nics: RefCell::default() }
    }

    /// A folder for files, readable by all users.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file into the folder.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path
    }

    /// A host with nothing but its loopback interface.
    #[must_use]
    pub fn host(&self, name: &str) -> Namespace {
        let full = format!("{}-{name}", self.name);
        let host = Namespace::new(&full, &self.folder);
        self.hosts.borrow_mut().push(full);
        host
    }

    /// A cable: interface `left_iface` of one host to `right_iface` of another, both up, without addresses. The first
    /// one is between the NICs of this machine, if it names some ([`Nics`]).
    pub fn cable(&self, left: (&Namespace, &str), right: (&Namespace, &str)) {
        match Nics::lend([left, right].map(|(host, iface)| (host.name(), iface))) {
            Some(nics) => *self.nics.borrow_mut() = Some(nics),
            None => {
                let ends = ["link", "add", left.1, "netns", left.0.name(), "type", "veth"];
                namespace::ip(&[&ends[..], &["peer", "name", right.1, "netns", right.0.name()]].concat());
            }
        }
        for (host, iface) in [left, right] {
            host.must(&["ip", "link", "set", iface, "up"]);
        }
    }

    /// A server and a client on one cable, [`SERVER`] and [`CLIENT`], each on [`IFACE`].
    #[must_use]
    pub fn pair(&self) -> (Namespace, Namespace) {
        let (server, client) = (self.host("server"), self.host("client"));
        self.cable((&server, IFACE), (&client, IFACE));
        address(&server, &client);
        (server, client)
    }

    /// As [`Lab::pair`]; both speak IPv6 too, as [`SERVER6`] and [`CLIENT6`], and fe80::77:1 and fe80::77:2 on the
    /// cable. Nothing that is sent for IPv6 by itself is on it but neighbour discovery.
    #[must_use]
    pub fn dual_pair(&self) -> (Namespace, Namespace) {
        let (server, client) = self.pair();
        for (host, global, link) in [(&server, SERVER6, "fe80::77:1"), (&client, CLIENT6, "fe80::77:2")] {
            let set = |name: &str, value: &str| {
                host.must(&["sysctl", "-qw", &format!("net.ipv6.conf.{IFACE}.{name}={value}")]);
            };
            // No addresses but those given here, and no router asked for.
            set("addr_gen_mode", "1");
            set("accept_ra", "0");
            set("router_solicitations", "0");
            set("disable_ipv6", "0");
            // Linux reaches its own addresses by way of it.
            host.must(&["sysctl", "-qw", "net.ipv6.conf.lo.disable_ipv6=0"]);
            for address in [global, link] {
                host.must(&["ip", "address", "add", &format!("{address}/64"), "dev", IFACE, "nodad"]);
            }
        }
        (server, client)
    }

    /// As [`Lab::pair`], with a relay on the way that makes trouble. Both ends finish their checksums and
    /// segments themselves, as they would on a real cable.
    #[must_use]
    pub fn pair_through(&self, trouble: Trouble) -> (Namespace, Namespace, Relay) {
        let (server, client, middle) = (self.host("server"), self.host("client"), self.host("relay"));
        self.cable((&server, IFACE), (&middle, "left"));
        self.cable((&middle, "right"), (&client, IFACE));
        for host in [&server, &client] {
            host.must(&["ethtool", "-K", IFACE, "tx", "off", "tso", "off", "gso", "off", "gro", "off"]);
        }
        let relay = Relay::start(&middle, ["left", "right"], trouble);
        address(&server, &client);
        (server, client, relay)
    }

    /// Hosts that share a bottleneck towards [`SERVER`]: so many senders, 10.77.0.2 and on, behind one end of a relay.
    /// Offloads are off, so that what is counted in frames is what would be on a wire.
    #[must_use]
    pub fn dumbbell(&self, senders: u8, trouble: Trouble) -> (Vec<Namespace>, Namespace, Relay) {
        let (server, middle) = (self.host("server"), self.host("relay"));
        middle.must(&["ip", "link", "add", "lan", "type", "bridge"]);
        middle.must(&["ip", "link", "set", "lan", "up"]);
        self.cable((&middle, "inner"), (&middle, "left"));
        self.cable((&middle, "right"), (&server, IFACE));
        middle.must(&["ip", "link", "set", "inner", "master", "lan"]);
        let plain = |host: &Namespace, iface: &str| {
            host.must(&["ethtool", "-K", iface, "tx", "off", "tso", "off", "gso", "off", "gro", "off"]);
        };
        let senders = (0..senders).map(|n| {
            let (host, port) = (self.host(&format!("sender{n}")), format!("port{n}"));
            self.cable((&host, IFACE), (&middle, &port));
            middle.must(&["ip", "link", "set", &port, "master", "lan"]);
            plain(&host, IFACE);
            host.must(&["ip", "address", "add", &format!("10.77.0.{}/24", n + 2), "dev", IFACE]);
            host
        });
        let senders: Vec<Namespace> = senders.collect();
        plain(&server, IFACE);
        server.must(&["ip", "address", "add", &format!("{SERVER}/24"), "dev", IFACE]);
        let relay = Relay::start(&middle, ["left", "right"], trouble);
        (senders, server, relay)
    }
}

fn address(server: &Namespace, client: &Namespace) {
    server.must(&["ip", "address", "add", &format!("{SERVER}/24"), "dev", IFACE]);
    client.must(&["ip", "address", "add", &format!("{CLIENT}/24"), "dev", IFACE]);
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.nics.take());
        for host in self.hosts.borrow().iter() {
            namespace::remove(host);
        }
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Removes the hosts and folders of laboratories whose process is gone.
fn sweep() {
    let here = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in here(Path::new("/run/netns")) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_stale(&name) {
            namespace::remove(&name);
        }
    }
    for entry in here(&std::env::temp_dir()) {
        if is_stale(&entry.file_name().to_string_lossy()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn is_stale(name: &str) -> bool {
    let pid = name.strip_prefix(PREFIX).and_then(|n| n.strip_prefix('-')).and_then(|n| n.split('-').next());
    pid.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists())
}
