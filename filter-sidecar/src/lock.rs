//! Takes from the process what it has no need of, before it reads the first byte of a sandbox's: rights, files, other programs.
//!
//! The system calls that are left are listed; any other fails with `EPERM` (seccomp, Linux 3.17). Nothing of this can be taken back.

use anyhow::{Context, Result};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, getrlimit, set_dumpable_behavior, set_parent_process_death_signal,
    setrlimit,
};
use rustix::thread::{CapabilitySet, CapabilitySets, clear_ambient_capability_set, set_capabilities};
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule, TargetArch, apply_filter};
use std::collections::BTreeMap;
use std::env::consts::ARCH;

/// Locks the process in. Threads that it starts later are locked in as well; it must not have any yet.
///
/// # Errors
/// When the kernel refuses; the process must not go on then.
pub fn lock_in() -> Result<()> {
    // Whoever started it may be gone already: then the control socket has ended.
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot end with the daemon")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("cannot refuse to be read")?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).context("cannot do without core files")?;
    // Two descriptors a connection: as many as it may have.
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).context("cannot have more descriptors")?;
    clear_ambient_capability_set().context("cannot give up capabilities")?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .context("cannot give up capabilities")?;
    // The C library starts threads in the older way then, whose arguments can be looked at. Filters also set no_new_privs.
    let unknown =
        filter(vec![(libc::SYS_clone3, Vec::new())], SeccompAction::Errno(errno(libc::ENOSYS)), SeccompAction::Allow)?;
    let others = filter(allowed()?, SeccompAction::Allow, SeccompAction::Errno(errno(libc::EPERM)))?;
    for program in [unknown, others] {
        apply_filter(&program).context("cannot restrict system calls")?;
    }
    Ok(())
}

type Rules = Vec<(libc::c_long, Vec<SeccompRule>)>;

fn filter(rules: Rules, of_these: SeccompAction, of_others: SeccompAction) -> Result<BpfProgram> {
    let architecture = TargetArch::try_from(ARCH).context("nothing is known of this processor's system calls")?;
    let rules: BTreeMap<_, _> = rules.into_iter().collect();
    let filter = SeccompFilter::new(rules, of_others, of_these, architecture)?;
    Ok(filter.try_into()?)
}

/// What the process may ask of the kernel.
fn allowed() -> Result<Rules> {
    let mut rules: Rules = ANY.iter().map(|call| (*call, Vec::new())).collect();
    let one = |argument, length, operator, value: u64| -> Result<SeccompRule> {
        Ok(SeccompRule::new(vec![SeccompCondition::new(argument, length, operator, value)?])?)
    };
    let equal = |argument, value: i32| one(argument, Dword, Eq, number(value));
    // Sockets of the network alone; the runtime has a pair for itself.
    rules.push((libc::SYS_socket, vec![equal(0, libc::AF_INET)?, equal(0, libc::AF_INET6)?]));
    rules.push((libc::SYS_socketpair, vec![equal(0, libc::AF_UNIX)?]));
    let asked = [libc::FIONBIO, libc::FIONREAD, libc::TIOCOUTQ].map(|request| one(1, Dword, Eq, request));
    rules.push((libc::SYS_ioctl, asked.into_iter().collect::<Result<_>>()?));
    // No memory becomes a program.
    let not_executable = || one(2, Dword, MaskedEq(number(libc::PROT_EXEC)), 0);
    rules.push((libc::SYS_mmap, vec![not_executable()?]));
    rules.push((libc::SYS_mprotect, vec![not_executable()?]));
    // Threads, but no other process.
    let thread = number(libc::CLONE_THREAD);
    rules.push((libc::SYS_clone, vec![one(0, Qword, MaskedEq(thread), thread)?]));
    rules.push((libc::SYS_prctl, vec![equal(0, libc::PR_SET_NAME)?]));
    // Limits are read, not set.
    rules.push((libc::SYS_prlimit64, vec![one(2, Qword, Eq, 0)?]));
    Ok(rules)
}

/// System calls with any arguments: about what is open already, sockets, time, memory, and the process's own threads.
const ANY: &[libc::c_long] = &[
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_clone3,
    libc::SYS_close,
    libc::SYS_connect,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_eventfd2,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_futex,
    libc::SYS_getcpu,
    libc::SYS_getpeername,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_listen,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_pipe2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_splice,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_write,
    libc::SYS_writev,
];

/// What the kernel sees of a constant: these are all positive.
const fn number(value: i32) -> u64 {
    value.unsigned_abs() as u64
}

const fn errno(value: i32) -> u32 {
    value.unsigned_abs()
}
