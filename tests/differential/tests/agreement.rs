//! The kernel program, the decision in userspace and the model agree about random packets. `DIFFERENTIAL_PACKETS` says how many,
//! `DIFFERENTIAL_SEED` which.

use anyhow::{Context, Result, ensure};
use std::env;
use std::time::{Instant, SystemTime};
use test_differential::Campaign;

#[test]
fn kernel_userspace_and_model_agree() -> Result<()> {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().context(name.to_owned())).transpose();
    let packets = number("DIFFERENTIAL_PACKETS")?.unwrap_or(50_000) as usize;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos() as u64;
    let seed = number("DIFFERENTIAL_SEED")?.unwrap_or(now);
    println!("DIFFERENTIAL_SEED={seed} DIFFERENTIAL_PACKETS={packets}");
    let start = Instant::now();
    let summary = Campaign::new(seed)?.run(packets).with_context(|| format!("DIFFERENTIAL_SEED={seed}"))?;
    let (allowed, denied) = summary.verdicts();
    println!("{packets} packets in {:.1?}: {allowed} passed, {denied} did not\n{}", start.elapsed(), summary.table());
    ensure!(allowed * 10 > packets, "too few pass to show anything: {allowed} of {packets}");
    Ok(())
}
