//! TLS hellos.

use filter_sidecar::hello::{HelloReader, Progress};

/// What a client sends first. The first byte tells in what pieces it comes.
pub fn hello(data: &[u8]) {
    let Some((step, bytes)) = data.split_first() else { return };
    let step = 1 + usize::from(*step);
    let whole = HelloReader::default().look(bytes);
    let mut reader = HelloReader::default();
    let ends = (step..bytes.len()).step_by(step).chain([bytes.len()]);
    let pieces = ends.map(|end| reader.look(&bytes[..end])).find(|seen| *seen != Progress::More);
    assert_eq!(pieces.unwrap_or(Progress::More), whole, "in pieces of {step}");
    match whole {
        Progress::Hello { name: Some(name) } => {
            assert!(
                !name.is_empty() && bytes.to_ascii_lowercase().windows(name.len()).any(|part| part == name.as_bytes())
            );
        }
        Progress::Refused(reason) => assert!(!reason.allows()),
        _ => {}
    }
}
