//! Programs, put into the kernel: its verifier goes through several at a time, on as many processors.

use crate::Error;
use aya::Ebpf;
use aya::programs::{Program, ProgramError};
use std::thread;

/// Loads the programs of these names. Nothing runs them yet.
///
/// # Errors
/// What the kernel refused of one of them; others may be loaded.
pub(crate) fn load(ebpf: &mut Ebpf, names: &[&str]) -> Result<(), Error> {
    let wanted = ebpf.programs_mut().filter(|(name, _)| names.contains(name));
    thread::scope(|scope| {
        let loads: Vec<_> = wanted.map(|(_, program)| scope.spawn(|| load_one(program))).collect();
        assert_eq!(loads.len(), names.len(), "the object has the programs");
        loads.into_iter().try_for_each(|load| load.join().expect("loading does not panic"))
    })?;
    Ok(())
}

/// Loads a program, of whichever kind.
pub(crate) fn load_one(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::SchedClassifier(program) => program.load(),
        Program::CgroupSkb(program) => program.load(),
        Program::CgroupSock(program) => program.load(),
        Program::CgroupSockAddr(program) => program.load(),
        Program::SkLookup(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}
