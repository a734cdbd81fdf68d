//! A disk that refuses a write or a sync, at any moment, and takes them again later.

use super::workload::{Workload, truth};
use anyhow::{Context, Result, ensure};

#[test]
fn a_disk_that_refuses_leaves_the_old_and_the_store_works_again() -> Result<()> {
    let (mut refused, mut moments) = (0, 0);
    for (times, first) in [(1, 0), (4, 1)] {
        for after in (first..).step_by(3) {
            let mut workload = Workload::new(7)?;
            workload.disk.refuse(after, times);
            for step in 0..20 {
                let error = workload.step(&mut Vec::new()).err();
                refused += u32::from(error.is_some());
                if workload.disk.has_refused() {
                    workload
                        .agrees()
                        .with_context(|| format!("after {after}, {times} times, step {step}: {error:?}"))?;
                }
            }
            if !workload.disk.has_refused() {
                break;
            }
            moments += 1;
            workload.step(&mut Vec::new())?;
            let expected = workload.truth.clone();
            let disk = workload.disk.clone();
            // The power fails at the end.
            std::mem::forget(workload);
            let found = truth(&disk.store("two")?)?;
            ensure!(found == expected, "after {after}, {times} times: {found:?}\n  is not\n{expected:?}");
        }
    }
    println!("{refused} changes refused, at {moments} moments");
    ensure!(refused > 100 && moments > 100);
    Ok(())
}
