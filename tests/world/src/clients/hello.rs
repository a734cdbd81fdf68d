//! TLS hellos made by hand, to be as wrong as a test needs them.

/// Most that a record may carry.
const MAX_FRAGMENT: usize = 16 << 10;
const SERVER_NAME: u16 = 0;
const SIGNATURE_ALGORITHMS: u16 = 13;
const PADDING: u16 = 21;

/// A `ClientHello` (RFC 8446, section 4.1.2) that a server can parse, but hardly answer: it shares no key.
#[derive(Clone, Debug)]
pub struct ClientHello {
    extensions: Vec<(u16, Vec<u8>)>,
}

impl ClientHello {
    /// One that names nobody.
    pub fn unnamed() -> ClientHello {
        ClientHello { extensions: vec![(SIGNATURE_ALGORITHMS, vec![0, 4, 4, 3, 8, 4])] }
    }

    /// One with these bytes as its name.
    pub fn named(name: impl AsRef<[u8]>) -> ClientHello {
        ClientHello::unnamed().names(&[name.as_ref()])
    }

    /// With a list of host names.
    #[must_use]
    pub fn names(self, names: &[&[u8]]) -> ClientHello {
        let entry = |name: &&[u8]| [&[0], sized(name).as_slice()].concat();
        let list: Vec<u8> = names.iter().flat_map(entry).collect();
        self.extension(SERVER_NAME, sized(&list))
    }

    /// With one more extension, in front of the others.
    #[must_use]
    pub fn extension(mut self, kind: u16, content: Vec<u8>) -> ClientHello {
        self.extensions.insert(0, (kind, content));
        self
    }

    /// Without one kind of extension.
    #[must_use]
    pub fn without(mut self, kind: u16) -> ClientHello {
        self.extensions.retain(|(other, _)| *other != kind);
        self
    }

    /// Padded so that the message, its header included, is so long.
    ///
    /// # Panics
    /// When it is longer already.
    #[must_use]
    pub fn padded_to(self, length: usize) -> ClientHello {
        let more = length.checked_sub(self.message().len() + 4).expect("room for an extension");
        self.extension(PADDING, vec![0; more])
    }

    /// The handshake message.
    pub fn message(&self) -> Vec<u8> {
        let extension = |(kind, content): &(u16, Vec<u8>)| [&kind.to_be_bytes(), sized(content).as_slice()].concat();
        let extensions: Vec<u8> = self.extensions.iter().flat_map(extension).collect();
        let body = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 1], &[1, 0], &sized(&extensions)].concat();
        let length = u32::try_from(body.len()).expect("a message of under 16 MiB").to_be_bytes();
        [&[1, length[1], length[2], length[3]], body.as_slice()].concat()
    }

    /// What goes over the wire: full records.
    pub fn wire(&self) -> Vec<u8> {
        records(&self.message(), MAX_FRAGMENT)
    }
}

/// A handshake message in records of at most so many bytes each.
pub fn records(message: &[u8], fragment: usize) -> Vec<u8> {
    message.chunks(fragment).flat_map(|fragment| [&[22, 3, 1], sized(fragment).as_slice()].concat()).collect()
}

/// Bytes behind their length.
fn sized(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("at most 65,535 bytes");
    [&length.to_be_bytes(), content].concat()
}
