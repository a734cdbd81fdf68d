//! This process: its descriptors, its memory, and what it starts.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Keeps all descriptors that the process has, but for the standard ones, from the programs that it starts: it may have got some itself that
/// are not closed by themselves. Since Linux 5.11.
///
/// # Errors
/// The kernel's.
pub fn close_on_exec() -> io::Result<()> {
    // SAFETY: no descriptor is closed.
    let marked = unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC.cast_signed()) };
    if marked == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has a program that is about to be started killed when the thread that starts it ends, as it does when its process is killed. What
/// the program starts itself goes on.
pub fn end_with_this_thread(command: &mut Command) {
    let parent = std::process::id().cast_signed();
    let arrange = move || {
        // SAFETY: both calls are allowed between fork and exec, and neither touches memory.
        let (arranged, now) = unsafe { (libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL), libc::getppid()) };
        match (arranged, now == parent) {
            (0, true) => Ok(()),
            // It has been killed meanwhile.
            (0, false) => Err(io::ErrorKind::Interrupted.into()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: `arrange` allocates nothing and takes no lock.
    unsafe { command.pre_exec(arrange) };
}

/// Makes the whole process take its memory from one heap; for the beginning of a daemon. Loading a program takes megabytes for a
/// moment, on whichever thread it happens, and glibc has a heap a thread, which keeps what was freed.
pub fn use_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call has no requirements; one that fails changes nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives memory back to the kernel that was needed for a while: the allocator keeps it otherwise, between what is still in use.
pub fn return_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call has no requirements.
    unsafe {
        libc::malloc_trim(0);
    }
}
