//! A packet socket that sends frames as they are (`packet(7)`), for what `BPF_PROG_TEST_RUN` cannot make: frames whose tag the
//! kernel takes off, frames that are not linear in memory, frames that stand for several (GSO), and frames whose checksum is
//! left to the device. It receives them too, with what is still to be done to them.

use anyhow::{Context, Result, ensure};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A socket that sends on one device of the namespace that it was made in.
pub struct RawSocket(File);

/// What a device is asked to do with a frame: `struct virtio_net_hdr`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offload {
    /// Bytes at the front that are to be linear; the rest is put into pages.
    pub linear: u16,
    /// Payload of each TCP segment that the frame stands for; 0 for a frame that stands for itself.
    pub segment: u16,
    /// Whether the segments are IPv6.
    pub v6: bool,
    /// From where on the device is to sum, and where behind that it is to put the checksum. Frames that stand for several have
    /// TCP's.
    pub checksum: Option<(u16, u16)>,
}

/// Bytes of `struct virtio_net_hdr`.
const HEADER: usize = 10;
/// The checksum is left to the device.
const NEEDS_CHECKSUM: u8 = 1;

impl RawSocket {
    /// Opens a socket on `device`. The calling thread must be in its namespace.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn open(device: &str) -> Result<RawSocket> {
        RawSocket::bound(device, 0)
    }

    /// Opens a socket on `device` that receives as well, without waiting. The calling thread must be in its namespace.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn listen(device: &str) -> Result<RawSocket> {
        RawSocket::bound(device, (libc::ETH_P_ALL as u16).to_be())
    }

    fn bound(device: &str, protocol: u16) -> Result<RawSocket> {
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) };
        ensure!(fd >= 0, "cannot open a packet socket: {}", io::Error::last_os_error());
        // SAFETY: the call has just made this descriptor, and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let name = CString::new(device)?;
        // SAFETY: the name is a string with its end.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        ensure!(index > 0, "there is no device {device}");
        let on: libc::c_int = 1;
        let length = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: the option is an integer, and its length is given.
        let set =
            unsafe { libc::setsockopt(fd, libc::SOL_PACKET, libc::PACKET_VNET_HDR, (&raw const on).cast(), length) };
        ensure!(set == 0, "cannot ask for offloads: {}", io::Error::last_os_error());
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: protocol,
            sll_ifindex: index as i32,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the address is one of a packet socket, and its length is given.
        let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
        ensure!(bound == 0, "cannot bind to {device}: {}", io::Error::last_os_error());
        Ok(RawSocket(File::from(socket)))
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn send(&mut self, frame: &[u8], offload: Offload) -> Result<()> {
        /// Segments are of TCP over IPv4 or IPv6.
        const SEGMENTS_V4: u8 = 1;
        const SEGMENTS_V6: u8 = 4;
        /// Where the checksum stands in a TCP header.
        const CHECKSUM_AT: u16 = 16;

        let transport: u16 = if offload.v6 { 54 } else { 34 };
        let (flags, kind, start, at) = match (offload.segment, offload.v6) {
            (0, _) => offload.checksum.map_or((0, 0, 0, 0), |(start, at)| (NEEDS_CHECKSUM, 0, start, at)),
            (_, false) => (NEEDS_CHECKSUM, SEGMENTS_V4, transport, CHECKSUM_AT),
            (_, true) => (NEEDS_CHECKSUM, SEGMENTS_V6, transport, CHECKSUM_AT),
        };
        let mut message = vec![flags, kind];
        for field in [offload.linear, offload.segment, start, at] {
            message.extend(field.to_ne_bytes());
        }
        message.extend(frame);
        let sent = self.0.write(&message).with_context(|| format!("cannot send {} bytes", frame.len()))?;
        ensure!(sent == message.len(), "{sent} of {} bytes were sent", message.len());
        Ok(())
    }

    /// The next frame that came or went, with the checksum that is still to be put into it; `None` when there is none.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn receive(&mut self) -> Result<Option<(Offload, Vec<u8>)>> {
        let mut message = vec![0; 1 << 16];
        let length = match self.0.read(&mut message) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            read => read.context("cannot receive")?,
        };
        ensure!(length >= HEADER, "{length} bytes were received");
        let field = |at: usize| u16::from_ne_bytes([message[at], message[at + 1]]);
        let checksum = (message[0] & NEEDS_CHECKSUM != 0).then(|| (field(6), field(8)));
        let offload = Offload { linear: field(2), segment: field(4), checksum, ..Offload::default() };
        Ok(Some((offload, message[HEADER..length].to_vec())))
    }
}

/// Lets a device complete the checksums of what it sends, or has the kernel do it before (`ETHTOOL_STXCSUM`). The calling thread
/// must be in its namespace.
///
/// # Errors
/// What the kernel refused.
pub fn offload_checksums(device: &str, on: bool) -> Result<()> {
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }
    const SET_TX_CHECKSUM: u32 = 0x17;

    let mut value = Value { command: SET_TX_CHECKSUM, data: on.into() };
    // SAFETY: zeros are a request without a name.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    ensure!(device.len() < libc::IFNAMSIZ, "{device} is too long");
    for (into, byte) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *into = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    let socket = std::net::UdpSocket::bind(("127.0.0.1", 0))?;
    // SAFETY: the request and what it points to live until the call returns.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    ensure!(done == 0, "cannot set the offload of {device}: {}", io::Error::last_os_error());
    Ok(())
}
