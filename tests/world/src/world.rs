//! The topology: a host that filters, an internet that answers, sandboxes that ask.

use std::{
    fs::{self, File},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Deref,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::id,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
};

use anyhow::{Context, Result, anyhow, ensure};
use nix::{
    fcntl::{Flock, FlockArg},
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use crate::{
    leftovers::{BPFFS, PREFIX, remove_cgroups, remove_namespaces, remove_stale, remove_tree},
    node::Node,
    tools,
};

/// Distinguishes the worlds of one process.
static WORLDS: AtomicU32 = AtomicU32::new(0);

/// How many sandboxes 198.51.100.0/24 has room for, a /30 each.
const SANDBOXES: u8 = 64;

/// The addresses that the internet has from the start, all outside the protected ranges; [`Internet::add_address`] adds more.
pub mod internet {
    use std::net::{Ipv4Addr, Ipv6Addr};

    /// A web server.
    pub const WEB: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
    /// Another web server in the same /24.
    pub const WEB_NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 20);
    /// A web server in another /24.
    pub const WEB_ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
    /// A public resolver.
    pub const CLOUDFLARE: Ipv4Addr = Ipv4Addr::new(1, 1, 1, 1);
    /// The default nameserver of policies with names.
    pub const GOOGLE: Ipv4Addr = Ipv4Addr::new(8, 8, 8, 8);
    /// A web server on IPv6.
    pub const WEB6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 0x10);
    /// Another web server in the same IPv6 /64.
    pub const WEB6_NEIGHBOUR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 0x20);
    /// A public resolver on IPv6.
    pub const CLOUDFLARE6: Ipv6Addr = Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111);
}

/// Namespaces, processes, files and pins that live and go together.
///
/// Drop servers, clients and flows before the world or with it: the world kills every process that is left in its namespaces.
#[derive(Debug)]
pub struct World {
    tag: String,
    dir: PathBuf,
    pin_dir: PathBuf,
    nodes: Mutex<Vec<PathBuf>>,
    sandboxes: AtomicU8,
    host: Option<Node>,
    internet: Option<Internet>,
}

/// The namespace with the servers, one router hop behind the host. Its addresses are on `lo`, so none is on a link.
#[derive(Clone, Debug)]
pub struct Internet(Node);

/// A namespace that sends through the host. All that a test may want to name is a field.
#[derive(Clone, Debug)]
pub struct Sandbox {
    node: Node,
    /// The host-side device: `veth-` and the sandbox's name. The other end is `eth0`.
    pub device: String,
    /// Its IPv4 address, in a /30 with the gateway.
    pub v4: Ipv4Addr,
    /// Its IPv6 address, in a /64 with the gateway.
    pub v6: Ipv6Addr,
    /// The host's IPv4 address on the link.
    pub gateway4: Ipv4Addr,
    /// The host's IPv6 address on the link.
    pub gateway6: Ipv6Addr,
    /// The MAC address of `eth0`; its link-local address is made from it (RFC 4291, appendix A).
    pub mac: String,
    /// The MAC address of the host-side device.
    pub gateway_mac: String,
}

impl World {
    /// Makes a world with a host and an internet. `name` (`[a-z0-9]`, at most 20) shows in the names of its namespaces.
    ///
    /// Fails without root, when a program is missing, or when the kernel lacks veth or namespaces.
    pub fn new(name: &str) -> Result<Self> {
        tools::require_tools()?;
        ensure!(is_label(name, 20), "a world's name is 1 to 20 of a-z and 0-9, not {name:?}");
        prepare_machine()?;
        let tag = format!("{PREFIX}{}-{}-{name}", id(), WORLDS.fetch_add(1, Ordering::Relaxed));
        let mut world = Self {
            dir: std::env::temp_dir().join(&tag),
            pin_dir: Path::new(BPFFS).join(&tag),
            tag,
            nodes: Mutex::default(),
            sandboxes: AtomicU8::new(0),
            host: None,
            internet: None,
        };
        // From here on the value's drop removes whatever was made, also when the next step fails.
        fs::DirBuilder::new().mode(0o755).create(&world.dir).context("cannot make the world's directory")?;
        fs::DirBuilder::new().mode(0o700).create(&world.pin_dir).context("cannot make the world's pin directory")?;
        let host = world.node("host")?;
        let internet = world.node("internet")?;
        connect(&host, &internet)?;
        world.host = Some(host);
        world.internet = Some(Internet(internet));
        Ok(world)
    }

    /// The namespace that forwards and is to filter: `up0` leads to the internet, each `veth-NAME` to a sandbox.
    pub fn host(&self) -> &Node {
        self.host.as_ref().expect("set by World::new")
    }

    /// The namespace with the servers.
    pub fn internet(&self) -> &Internet {
        self.internet.as_ref().expect("set by World::new")
    }

    /// A directory for files; removed with the world.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A directory of this world alone on the BPF file system; removed with all that is pinned below it.
    pub fn pin_dir(&self) -> &Path {
        &self.pin_dir
    }

    /// Makes a sandbox behind the host. `name` is 1 to 10 of `[a-z0-9]`.
    pub fn sandbox(&self, name: &str) -> Result<Sandbox> {
        ensure!(is_label(name, 10), "a sandbox's name is 1 to 10 of a-z and 0-9, not {name:?}");
        let number = self.sandboxes.fetch_add(1, Ordering::Relaxed);
        ensure!(number < SANDBOXES, "a world has room for {SANDBOXES} sandboxes");
        let sandbox = Sandbox {
            node: self.node(name)?,
            device: format!("veth-{name}"),
            v4: Ipv4Addr::new(198, 51, 100, 4 * number + 2),
            v6: Ipv6Addr::new(0x2001, 0xdb8, 0xa000 + u16::from(number), 0, 0, 0, 0, 2),
            gateway4: Ipv4Addr::new(198, 51, 100, 4 * number + 1),
            gateway6: Ipv6Addr::new(0x2001, 0xdb8, 0xa000 + u16::from(number), 0, 0, 0, 0, 1),
            mac: format!("02:00:00:00:{number:02x}:02"),
            gateway_mac: format!("02:00:00:00:{number:02x}:01"),
        };
        sandbox.connect(self.host())?;
        Ok(sandbox)
    }

    /// Makes a namespace that is linked to nothing, for attachments that [`World::sandbox`] does not make (a TAP device, a
    /// bridge port, an inner namespace).
    pub fn node(&self, name: &str) -> Result<Node> {
        let full = format!("{}-{name}", self.tag);
        let node = |path: &PathBuf| path.file_name().is_some_and(|file| *file == *full);
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(!nodes.iter().any(node), "there is a node {name:?} already");
        nodes.push(Path::new(crate::node::NETNS_DIR).join(&full));
        Node::create(full, self.dir.join(name))
    }

    /// Takes in a namespace that somebody else has made, by its name for `ip netns`; what is left of it at the end is removed.
    pub fn adopt(&self, name: &str) -> Result<Node> {
        let path = Path::new(crate::node::NETNS_DIR).join(name);
        ensure!(path.exists(), "there is no namespace {name:?}");
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if !nodes.contains(&path) {
            nodes.push(path);
        }
        Node::existing(name.to_owned(), self.dir.join(name))
    }

    fn remove(&self) -> Result<()> {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let made: Vec<PathBuf> = nodes.iter().filter(|path| path.exists()).cloned().collect();
        let namespaces = remove_namespaces(&made);
        for name in nodes.iter().filter_map(|path| path.file_name()) {
            // What `ip netns exec` binds there; most have nothing.
            fs::remove_dir_all(Path::new("/etc/netns").join(name)).ok();
        }
        let pins = remove_tree(&self.pin_dir);
        let files = remove_tree(&self.dir);
        let is_own = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&self.tag));
        namespaces.and(pins).and(files).and(remove_cgroups(is_own))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            // A second panic while unwinding would abort and hide the first.
            assert!(std::thread::panicking(), "{} was not removed: {error:#}", self.tag);
            eprintln!("{} was not removed: {error:#}", self.tag);
        }
    }
}

impl Internet {
    /// Gives the internet one more address, protected ranges included. One that is there already is fine.
    pub fn add_address(&self, address: impl Into<IpAddr>) -> Result<()> {
        self.0.ip_batch(&format!("address replace {} dev lo\n", host_prefix(address.into())))
    }
}

impl Sandbox {
    /// Makes the link to `host` with the addresses and the default routes: once by itself, and again after the device was
    /// deleted.
    pub fn connect(&self, host: &Node) -> Result<()> {
        let Self { node, device, v4, v6, gateway4, gateway6, mac, gateway_mac } = self;
        let namespace = node.name();
        host.ip_batch(&format!(
            "link add {device} address {gateway_mac} type veth peer name eth0 address {mac} netns {namespace}\n\
             address add {gateway4}/30 dev {device}\n\
             address add {gateway6}/64 dev {device} nodad\n\
             link set {device} up\n"
        ))?;
        node.ip_batch(&format!(
            "link set eth0 up\n\
             address add {v4}/30 dev eth0\n\
             address add {v6}/64 dev eth0 nodad\n\
             route add default via {gateway4}\n\
             route add default via {gateway6}\n"
        ))?;
        node.wait_for_device("eth0")?;
        host.wait_for_device(device)
    }

    /// Lets `host` give the sandbox up within two seconds when it does not answer for its addresses (`Documentation/networking/ip-sysctl.rst`,
    /// `neigh/`).
    pub fn is_given_up_soon(&self, host: &Node) -> Result<()> {
        for family in ["ipv4", "ipv6"] {
            let of = |time: &str| format!("net.{family}.neigh.{}.{time}", self.device);
            let times =
                [("base_reachable_time_ms", "500"), ("delay_first_probe_time", "1"), ("retrans_time_ms", "100")];
            let times = times.map(|(time, value)| (of(time), value));
            host.sysctls(&times.each_ref().map(|(time, value)| (time.as_str(), *value)))?;
        }
        Ok(())
    }
}

impl Deref for Internet {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.0
    }
}

impl Deref for Sandbox {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

/// Makes `host` a router and links `internet` to it by next hop. Neighbours are permanent, so that the wire between the two
/// carries nothing but what was sent, and what IPv6 says by itself from link-local addresses. Addresses that no sandbox has
/// end at the host.
fn connect(host: &Node, internet: &Node) -> Result<()> {
    host.sysctls(&[
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv6.conf.all.forwarding", "1"),
        ("net.ipv6.conf.default.forwarding", "1"),
    ])?;
    host.ip_batch(&format!(
        "link add up0 address 02:00:00:01:00:01 type veth peer name host0 address 02:00:00:01:00:02 netns {}\n\
         address add 10.99.0.1/30 dev up0\n\
         address add fd99::1/64 dev up0 nodad\n\
         link set up0 up\n\
         neighbour add 10.99.0.2 lladdr 02:00:00:01:00:02 dev up0 nud permanent\n\
         neighbour add fd99::2 lladdr 02:00:00:01:00:02 dev up0 nud permanent\n",
        internet.name()
    ))?;
    let mut lines = String::from(
        "link set host0 up\n\
         address add 10.99.0.2/30 dev host0\n\
         address add fd99::2/64 dev host0 nodad\n\
         neighbour add 10.99.0.1 lladdr 02:00:00:01:00:01 dev host0 nud permanent\n\
         neighbour add fd99::1 lladdr 02:00:00:01:00:01 dev host0 nud permanent\n\
         route add 198.51.100.0/24 via 10.99.0.1\n\
         route add 2001:db8:a000::/40 via fd99::1\n",
    );
    let v4 = [internet::WEB, internet::WEB_NEIGHBOUR, internet::WEB_ELSEWHERE, internet::CLOUDFLARE, internet::GOOGLE];
    let v6 = [internet::WEB6, internet::WEB6_NEIGHBOUR, internet::CLOUDFLARE6];
    for address in v4.map(IpAddr::from).into_iter().chain(v6.map(IpAddr::from)) {
        lines += &format!("address add {} dev lo\n", host_prefix(address));
    }
    internet.ip_batch(&lines)?;
    host.ip_batch(
        "route add default via 10.99.0.2\n\
         route add default via fd99::2\n\
         route add unreachable 198.51.100.0/24\n\
         route add unreachable 2001:db8:a000::/40\n",
    )?;
    host.wait_for_device("up0")?;
    internet.wait_for_device("host0")
}

/// Mounts the BPF file system where it belongs and removes what killed tests left, one process at a time.
fn prepare_machine() -> Result<()> {
    let parent = File::open("/sys/fs").context("cannot open /sys/fs")?;
    let _lock =
        Flock::lock(parent, FlockArg::LockExclusive).map_err(|(_, error)| anyhow!("cannot lock /sys/fs: {error}"))?;
    let mounted = statfs(BPFFS).with_context(|| format!("no {BPFFS}: the kernel has no BPF"))?.filesystem_type();
    if mounted != BPF_FS_MAGIC {
        mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("cannot mount the BPF file system at {BPFFS}"))?;
    }
    remove_stale()
}

fn host_prefix(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}

fn is_label(name: &str, longest: usize) -> bool {
    (1..=longest).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}
