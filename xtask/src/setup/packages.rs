//! Everything that is installed, in one place: a new helper of the demo or the tests is added here and nowhere else.

/// The version of bpf-linker that the project is built with.
pub(crate) const BPF_LINKER: &str = "0.13.0";

/// The version of cargo-deny that checks the dependencies.
pub(crate) const CARGO_DENY: &str = "0.20.2";

/// The version of cargo-fuzz that builds what is fuzzed.
pub(crate) const CARGO_FUZZ: &str = "0.13.2";

/// Debian's Rust compiler with its library source, for the kernel program. It lives beside rustup and is never on PATH
/// before it. The LLVM that belongs to it is known only once it is there: see [`llvm`].
pub(super) const COMPILER: &[&str] = &["rustc-web", "cargo-web", "rust-web-src"];

/// Debian's package of the LLVM that bpf-linker is linked with.
pub(super) fn llvm(major: u32) -> String {
    format!("llvm-{major}-dev")
}

/// A program that the demo, the tests or the benchmarks run.
pub(super) struct Tool {
    /// Its name on PATH.
    pub(super) program: &'static str,
    /// Debian's packages.
    pub(super) debian: &'static [&'static str],
    /// Fedora's packages.
    pub(super) fedora: &'static str,
    /// Arch Linux's packages.
    pub(super) arch: &'static str,
}

/// The programs that the demo, the tests and the benchmarks run.
pub(super) const TOOLS: &[Tool] = &[
    Tool { program: "ip", debian: &["iproute2"], fedora: "iproute", arch: "iproute2" },
    Tool { program: "curl", debian: &["curl"], fedora: "curl", arch: "curl" },
    Tool { program: "dig", debian: &["bind9-dnsutils"], fedora: "bind-utils", arch: "bind" },
    Tool { program: "ping", debian: &["iputils-ping"], fedora: "iputils", arch: "iputils" },
    Tool {
        program: "nginx",
        debian: &["nginx-light", "libnginx-mod-stream"],
        fedora: "nginx nginx-mod-stream",
        arch: "nginx nginx-mod-stream",
    },
    Tool { program: "dnsmasq", debian: &["dnsmasq-base"], fedora: "dnsmasq", arch: "dnsmasq" },
    Tool { program: "openssl", debian: &["openssl"], fedora: "openssl", arch: "openssl" },
    Tool { program: "wget", debian: &["wget"], fedora: "wget", arch: "wget" },
    Tool { program: "git", debian: &["git"], fedora: "git", arch: "git" },
    Tool {
        program: "python3",
        debian: &["python3", "python3-requests", "python3-venv"],
        fedora: "python3 python3-requests",
        arch: "python python-requests",
    },
    Tool { program: "socat", debian: &["socat"], fedora: "socat", arch: "socat" },
    Tool { program: "nc", debian: &["netcat-openbsd"], fedora: "netcat", arch: "openbsd-netcat" },
    Tool { program: "nft", debian: &["nftables"], fedora: "nftables", arch: "nftables" },
    Tool { program: "iperf3", debian: &["iperf3"], fedora: "iperf3", arch: "iperf3" },
];

/// The programs that only `cargo xtask vm` runs. Kernels come as Debian's packages.
pub(super) const VIRTUAL_MACHINES: &[Tool] = &[
    Tool {
        program: "qemu-system-x86_64",
        debian: &["qemu-system-x86"],
        fedora: "qemu-system-x86",
        arch: "qemu-system-x86",
    },
    Tool { program: "depmod", debian: &["kmod"], fedora: "kmod", arch: "kmod" },
    Tool { program: "xz", debian: &["xz-utils"], fedora: "xz", arch: "xz" },
    Tool { program: "dpkg", debian: &["dpkg"], fedora: "dpkg", arch: "dpkg" },
];

/// The programs that only `cargo xtask bench names` runs: what the filter stands beside there.
pub(super) const RIVALS: &[Tool] = &[
    Tool { program: "haproxy", debian: &["haproxy"], fedora: "haproxy", arch: "haproxy" },
    Tool { program: "sniproxy", debian: &["sniproxy"], fedora: "sniproxy", arch: "sniproxy" },
];

/// Services that come with what is installed: (Debian's package, service). One that `setup` brings in is neither started
/// nor enabled: the tests start the program themselves, inside their own namespaces. One that was there is left alone.
pub(super) const SERVICES: &[(&str, &str)] = &[("nginx", "nginx"), ("haproxy", "haproxy"), ("sniproxy", "sniproxy")];
