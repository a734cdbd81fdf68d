//! A smaller packet with the same fault.

use anyhow::Result;

/// Takes away from a frame whatever the fault does not need: its end, then the values of its bytes.
pub(crate) fn shrink(frame: &[u8], mut fails: impl FnMut(&[u8]) -> Result<bool>) -> Result<Vec<u8>> {
    let mut least = frame.to_vec();
    let mut step = least.len() / 2;
    while step > 0 {
        let shorter = &least[..least.len().saturating_sub(step)];
        if !shorter.is_empty() && fails(shorter)? {
            least.truncate(least.len() - step);
        } else {
            step /= 2;
        }
    }
    for at in 0..least.len() {
        let kept = std::mem::take(&mut least[at]);
        if kept != 0 && !fails(&least)? {
            least[at] = kept;
        }
    }
    Ok(least)
}
