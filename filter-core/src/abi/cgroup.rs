//! How the programs of a cgroup find its sandbox.

/// What is stored at a cgroup that is a sandbox, for each hook. All zero, as the kernel makes it, is nobody's: everything is denied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CgroupEntry {
    /// Index of the sandbox in the arrays of maps; 0, the shadow's, for none.
    pub slot: u32,
    /// How deep the cgroup lies; 0 is the root.
    pub level: u32,
    /// The cgroup's id.
    pub id: u64,
}

const _: () = assert!(size_of::<CgroupEntry>() == 16);

/// What is stored at each socket that a cgroup's processes have made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SocketTag {
    /// The sandbox's slot.
    pub slot: u32,
    /// Its attachment's number.
    pub incarnation: u32,
}
