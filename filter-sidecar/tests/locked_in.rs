//! A process that is locked in: what it may still do, and what it may not. It is this test's own program, started once more.
#![forbid(unsafe_code)]

use libtest_mimic::{Arguments, Trial};
use nix::sys::ptrace;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::env;
use std::fs::{File, read_to_string};
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::thread;

/// Set in the process that locks itself in.
const INSIDE: &str = "LOCKED_IN";
const NOBODY: u32 = 65_534;

fn main() -> ExitCode {
    // The threads of a test harness would not be locked in.
    if env::var_os(INSIDE).is_some() {
        inside();
        return ExitCode::SUCCESS;
    }
    let trial = Trial::test("what_is_locked_in_has_the_network_alone", || {
        locks_itself_in();
        Ok(())
    });
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

fn locks_itself_in() {
    let mut again = Command::new(env::current_exe().unwrap());
    again.env(INSIDE, "1").uid(NOBODY).gid(NOBODY).current_dir("/");
    let out = again.output().unwrap();
    let told = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && told.contains("locked in, as it is to be"), "{}: {told}", out.status);
}

fn inside() {
    let refused = |result: io::Result<()>| result.unwrap_err().raw_os_error() == Some(nix::libc::EPERM);
    // The same is possible before.
    assert!(read_to_string("/proc/self/status").unwrap().contains("Seccomp:\t0"));
    let status = File::open("/proc/self/status").unwrap();
    assert!(Command::new("true").status().unwrap().success());
    filter_sidecar::lock_in().unwrap();

    let status = io::read_to_string(status).unwrap();
    let is = |line: &str| assert!(status.lines().any(|has| has == line), "{line}: {status}");
    is("NoNewPrivs:\t1");
    is("Seccomp:\t2");
    is("Groups:\t ");
    is(&format!("Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}"));
    for set in ["Inh", "Prm", "Eff", "Amb"] {
        is(&format!("Cap{set}:\t0000000000000000"));
    }

    assert!(refused(File::open("/etc/passwd").map(drop)), "a file");
    assert!(refused(File::create("/tmp/locked-in").map(drop)), "a new file");
    assert!(refused(std::fs::read_dir("/").map(drop)), "a directory");
    assert!(refused(Command::new("/bin/true").spawn().map(drop)), "another program");
    assert!(refused(Err(Command::new("/bin/true").exec())), "another program in its place");
    assert!(refused(UnixListener::bind("/tmp/locked-in.sock").map(drop)), "a local socket");
    for family in [AddressFamily::Packet, AddressFamily::Netlink, AddressFamily::Unix, AddressFamily::Vsock] {
        let made = socket(family, SockType::Datagram, SockFlag::empty(), None);
        assert_eq!(made.unwrap_err(), nix::Error::EPERM, "{family:?}");
    }
    assert_eq!(ptrace::traceme().unwrap_err(), nix::Error::EPERM);
    assert_eq!(nix::sys::signal::kill(nix::unistd::Pid::from_raw(1), None).unwrap_err(), nix::Error::EPERM);

    // Threads, time and the network are there.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let to = listener.local_addr().unwrap();
    let connecting = thread::Builder::new().name("another".to_owned()).spawn(move || TcpStream::connect(to).unwrap());
    let (accepted, _) = listener.accept().unwrap();
    accepted.set_nonblocking(true).unwrap();
    connecting.unwrap().join().unwrap();
    UdpSocket::bind("[::1]:0").unwrap();
    assert!(refused(thread::spawn(|| File::open("/etc/passwd").map(drop)).join().unwrap()), "a file, by a thread");
    println!("locked in, as it is to be");
}
