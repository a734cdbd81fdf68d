//! The relays: processes in the router's namespace, on the CPU that is measured.

use super::NAME;
use super::server::PORT;
use crate::world::{LANES, Netns, SOMEBODY};
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What stands beside the filter.
pub(super) struct Peer {
    /// What it is called in series.
    pub(super) key: &'static str,
    /// What it is called by people.
    pub(super) name: &'static str,
    port: u16,
    /// Its program and arguments; `FILE` is its configuration.
    command: &'static [&'static str],
    configuration: fn(&Path, u16) -> String,
}

/// The rivals, and the floor at the end.
pub(super) const PEERS: [Peer; 4] = [
    Peer {
        key: "nginx",
        name: "nginx, ssl_preread",
        port: 4431,
        command: &["nginx", "-c", "FILE"],
        configuration: |folder, port| {
            let folder = folder.display();
            format!(
                "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n\
                 daemon off; master_process off; user root; pid {folder}/nginx.pid; error_log stderr crit;\n\
                 events {{ worker_connections 24000; multi_accept on; }}\n\
                 stream {{\n\
                   access_log off;\n\
                   map $ssl_preread_server_name $to {{ {NAME} {SOMEBODY}:{PORT}; }}\n\
                   server {{ listen {}:{port} backlog=4095; ssl_preread on; proxy_pass $to; tcp_nodelay on; }}\n\
                 }}\n",
                LANES[1].gateway
            )
        },
    },
    Peer {
        key: "haproxy",
        name: "haproxy, req_ssl_sni",
        port: 4432,
        command: &["haproxy", "-db", "-f", "FILE"],
        configuration: |_, port| {
            format!(
                "global\n  nbthread 1\n  maxconn 9900\n  maxpipes 64\n\
                 defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 1h\n  timeout server 1h\n  option splice-auto\n\
                 frontend in\n  bind {}:{port} backlog 4095\n  tcp-request inspect-delay 10s\n\
                 \x20 tcp-request content accept if {{ req_ssl_hello_type 1 }}\n\
                 \x20 use_backend out if {{ req_ssl_sni -i {NAME} }}\n\
                 backend out\n  server out {SOMEBODY}:{PORT}\n",
                LANES[1].gateway
            )
        },
    },
    Peer {
        key: "sniproxy",
        name: "sniproxy",
        port: 4433,
        command: &["sniproxy", "-f", "-c", "FILE"],
        configuration: |folder, port| {
            let folder = folder.display();
            format!(
                "user root\npidfile {folder}/sniproxy.pid\n\
                 error_log {{ filename {folder}/sniproxy.error\n priority error }}\n\
                 listener {}:{port} {{\n proto tls\n table to\n}}\n\
                 table to {{\n {NAME} {SOMEBODY}:{PORT}\n}}\n",
                LANES[1].gateway
            )
        },
    },
    Peer {
        key: "copy",
        name: "a relay that only copies",
        port: 4434,
        command: &[],
        configuration: |_, _| String::new(),
    },
];

/// A relay that runs; it ends with this, or with the program.
pub(super) struct Running {
    child: Child,
}

impl Peer {
    /// Where clients connect to.
    pub(super) fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(LANES[1].gateway, self.port)
    }

    /// Starts it, with its files in a folder. Call it on the main thread: the kernel ends it with the thread that started it.
    pub(super) fn start(&self, netns: &Netns, cpu: usize, folder: &Path) -> Result<Running> {
        let file = folder.join(self.key);
        fs::write(&file, (self.configuration)(folder, self.port))?;
        let log = File::create(file.with_extension("log"))?;
        let mut command = on_cpu(netns, cpu);
        match self.command {
            [] => {
                let to = SocketAddrV4::new(SOMEBODY, PORT);
                command.arg(std::env::current_exe()?).args(["copy", &self.address().to_string(), &to.to_string()]);
            }
            words => {
                command.args(words.iter().map(|word| if *word == "FILE" { file.clone() } else { PathBuf::from(word) }));
            }
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        Ok(Running { child })
    }
}

impl Running {
    /// One that has been started.
    pub(super) fn of(child: Child) -> Running {
        Running { child }
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A command line that runs a program in a namespace, on one CPU, for no longer than this program.
pub(super) fn on_cpu(netns: &Netns, cpu: usize) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", netns.path().display())).args(["taskset", "--cpu-list", &cpu.to_string()]).args([
        "setpriv",
        "--pdeathsig",
        "KILL",
    ]);
    command
}
