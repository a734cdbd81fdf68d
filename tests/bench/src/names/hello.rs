//! A TLS `ClientHello` as clients send it: TLS 1.3 and 1.2, the usual extensions, padded to 517 bytes.

/// Bytes of the whole record, which most clients pad to.
const LENGTH: usize = 517;

/// One that asks for a name.
pub(super) fn hello(name: &str) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([0x5a; 32]);
    body.push(32);
    body.extend([0xa5; 32]);
    let suites: [u16; 8] = [0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9];
    body.extend(sized(&suites.map(u16::to_be_bytes).concat()));
    body.extend([1, 0]);
    let host = [&[0], &*sized(name.as_bytes())].concat();
    let key = [&[0, 29], &*sized(&[0x42; 32])].concat();
    let mut extensions = [
        extension(0, &sized(&host)),
        extension(23, &[]),
        extension(10, &sized(&[0, 29, 0, 23, 0, 24])),
        extension(11, &[1, 0]),
        extension(35, &[]),
        extension(16, &sized(b"\x02h2\x08http/1.1")),
        extension(5, &[1, 0, 0, 0, 0]),
        extension(13, &sized(&[4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1])),
        extension(51, &sized(&key)),
        extension(45, &[1, 1]),
        extension(43, &[4, 3, 4, 3, 3]),
    ]
    .concat();
    // Behind the record's and the message's heads, the extensions' length, and the padding's own head.
    let padding = LENGTH.saturating_sub(5 + 4 + body.len() + 2 + extensions.len() + 4);
    extensions.extend(extension(21, &vec![0; padding]));
    body.extend(sized(&extensions));
    let message = [&[1, 0], &*sized(&body)].concat();
    [&[22, 3, 1], &*sized(&message)].concat()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes(), &*sized(body)].concat()
}

/// Bytes behind their length.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a hello is short");
    [&length.to_be_bytes(), bytes].concat()
}
