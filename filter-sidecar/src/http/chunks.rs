//! Where a chunked body ends (RFC 9112, section 7.1). The bytes themselves are hyper's to read; what is not quite as it should be is refused.

/// Longest line of a body, and longest trailer.
const MAX_LINE: usize = 8 << 10;

/// What comes next in a chunked body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Chunks {
    /// A chunk's size.
    #[default]
    Size,
    /// A field of the trailer, or the end.
    Trailer,
}

/// What may be passed on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many bytes, of which not all need to be there; then this comes.
    Pass(u64, Chunks),
    /// So many bytes; then the body is over.
    End(u64),
    /// More must be there to tell.
    More,
}

impl Chunks {
    /// Looks at what is there; `None` if it is malformed.
    pub(super) fn step(self, bytes: &[u8]) -> Option<Step> {
        let Some(at) = bytes.iter().position(|byte| *byte == b'\n') else {
            return (bytes.len() < MAX_LINE).then_some(Step::More);
        };
        let line = bytes[..at].strip_suffix(b"\r").filter(|line| line.len() < MAX_LINE)?;
        if line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return None;
        }
        let length = at as u64 + 1;
        match self {
            Chunks::Trailer if line.is_empty() => Some(Step::End(length)),
            Chunks::Trailer => Some(Step::Pass(length, Chunks::Trailer)),
            Chunks::Size => match size(line)? {
                0 => Some(Step::Pass(length, Chunks::Trailer)),
                size => Some(Step::Pass(length.checked_add(size)?.checked_add(2)?, Chunks::Size)),
            },
        }
    }
}

fn size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?;
    let is_number = (1..=16).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    is_number.then(|| u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_end_where_they_end() {
        for (bytes, step) in [
            (&b"5\r\nhello\r\n"[..], Some(Step::Pass(3 + 5 + 2, Chunks::Size))),
            (b"1A;name=value\r\n", Some(Step::Pass(15 + 26 + 2, Chunks::Size))),
            (b"0\r\n\r\n", Some(Step::Pass(3, Chunks::Trailer))),
            (b"5", Some(Step::More)),
            (b"5\r", Some(Step::More)),
            (b"5\nhello", None),
            (b"5 \r\n", None),
            (b"0x5\r\n", None),
            (b"+5\r\n", None),
            (b"\r\n", None),
            (b"5;a\rb\r\n", None),
            (b"10000000000000000\r\n", None),
            (b"ffffffffffffffff\r\n", None),
        ] {
            assert_eq!(Chunks::Size.step(bytes), step, "{:?}", bytes.escape_ascii().to_string());
        }
        assert_eq!(Chunks::Trailer.step(b"\r\nGET"), Some(Step::End(2)));
        assert_eq!(Chunks::Trailer.step(b"X: y\r\n\r\n"), Some(Step::Pass(6, Chunks::Trailer)));
        assert_eq!(Chunks::Trailer.step(b"X: y\n"), None);
        assert_eq!(Chunks::Size.step(&[b'1'; MAX_LINE]), None);
    }
}
